"""Options that several commands have in common, and what they come to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

from search.cli import completing

MARKUP: Literal["markdown"] = "markdown"
"""What docstrings and helps are written in."""

PLACES = "Places"
"""The heading of options that say where things lie."""

SpecFile = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads this form)
    typer.Argument(
        help="TOML file that describes the study; - reads standard input", metavar="SPEC.toml"
    ),
]


def _located(place: str) -> Path:
    from search.store.mirror import locate
    from trainables.artifacts.remote import is_uri
    from trainables.errors import InvalidRequest

    if completing.now() and is_uri(place):
        raise typer.BadParameter("whoever presses a key does not wait for a network")
    try:
        return locate(place)
    except InvalidRequest as error:  # a ValueError too, which Typer would tell in its own words
        raise typer.BadParameter(str(error)) from None


Results = Annotated[
    Path,
    typer.Option(
        help="folder of results, or a URI (s3://bucket/folder)",
        parser=_located,
        show_default="results",
        metavar="PLACE",
        rich_help_panel=PLACES,
    ),
]
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="folder of datasets (downloads go there) [default: user's cache]",
        rich_help_panel=PLACES,
    ),
]
Artifacts = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="folder of models and generators, or a URI [default: user's cache]",
        metavar="PLACE",
        rich_help_panel=PLACES,
    ),
]
ZeroShot = Annotated[
    bool,
    typer.Option(
        "--zero-shot",
        help="no dataset at all: zdelete (or --method) on --weights, steered by synthetic images",
    ),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set",
        help="hyperparameter: NAME=VALUE fixes it, NAME=LOW..HIGH bounds it, NAME=A,B lists it",
        metavar="NAME=...",
    ),
]
OneStudy = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(help="a study [default: all]", autocompletion=completing.studies),
]
MOST = 10_000
"""Of what is repeated: no study of repeats has been that large."""

Style = Annotated[
    str,
    typer.Option(
        "--format",
        help="text, markdown, latex or csv",
        metavar="FORMAT",
        autocompletion=completing.one_of("text", "markdown", "latex", "csv"),
    ),
]
Output = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="write the table to this file"),
]
Dashboard = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="where the cluster's jobs are asked for [default: http://127.0.0.1:8265]"),
]
OptionalInt = Optional[int]  # noqa: UP045
OptionalFloat = Optional[float]  # noqa: UP045
OptionalStr = Optional[str]  # noqa: UP045


def load(path: Path | None, given: dict[str, Any], places: Any, without_data: bool = False) -> Any:
    """The specification that a file and the options describe, --zero-shot (`without_data`) among
    them. What the words of --forget say shows only in the dataset, which is read for it. Raises
    InvalidRequest."""
    from search.definition.reading import load_spec
    from search.definition.resolving import with_words

    defaults = {"method": "zdelete"} if without_data else {}
    loaded = load_spec(path, zero_shot(given) if without_data else given, defaults)
    words = given.get("scenario", {}).get("forget")
    return with_words(loaded, words, places) if words else loaded


def zero_shot(overrides: dict[str, Any]) -> dict[str, Any]:
    """No dataset, whatever a file says, and the objective that needs none; another that the options
    name is refused later. Raises InvalidRequest for options that name a dataset."""
    from trainables.errors import InvalidRequest

    scenario = overrides.get("scenario", {})
    if scenario.get("dataset", "none") != "none":
        raise InvalidRequest(
            f"--zero-shot is without any dataset, and --dataset {scenario['dataset']} names one; "
            "with a dataset to look at, --objective synthetic has the search do without"
        )
    return {"objective": "synthetic", **overrides, "scenario": {**scenario, "dataset": "none"}}


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Tells what could not be written, in one line."""
    from trainables.errors import ForgetuneError, InvalidRequest

    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, ForgetuneError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequest(f"{option} {path}: cannot be written ({reason})") from None


def check_file(option: str, path: Path | None) -> None:
    """Refuses, before any work is done, a file that cannot be written in the end."""
    from trainables.errors import InvalidRequest

    if path is None:
        return
    there = _there(option, path)
    if there == "folder" or _there(option, path.parent) != "folder":
        raise InvalidRequest(f"{option} {path}: give a file in a folder that is there")
    target = path if there == "device" else path.parent
    if not os.access(target, os.W_OK):
        raise InvalidRequest(f"{option} {path}: cannot be written (no permission for {target})")


def check_weights(option: str, path: Path | None) -> None:
    """`check_file` for weights, whose format their name must not belie."""
    from trainables.artifacts.files import check_weights_name
    from trainables.errors import InvalidRequest

    check_file(option, path)
    if path is not None:
        try:
            check_weights_name(path)
        except InvalidRequest as error:
            raise InvalidRequest(f"{option} {error}") from None


def check_folder(option: str, path: Path | None) -> None:
    """Refuses, before any work is done, a folder that cannot be there or be made in the end."""
    from trainables.errors import InvalidRequest

    if path is None:
        return
    place = path.absolute()
    while (found := _there(option, place)) is None:
        place = place.parent
    if found != "folder":
        raise InvalidRequest(f"{option} {path}: {place} is no folder")
    if not os.access(place, os.W_OK):
        raise InvalidRequest(f"{option} {path}: cannot be written (no permission for {place})")


def _there(option: str, path: Path) -> Literal["folder", "file", "device"] | None:
    """What is at a path. Refuses a path where nothing can be."""
    from trainables.errors import InvalidRequest

    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequest(f"{option} {path}: cannot be written ({reason})") from None
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "device"


def settings(texts: list[str] | None) -> dict[str, Any]:
    """Overrides of a search space by name."""
    from search.definition.space import parse_setting

    return dict(parse_setting(text) for text in texts or [])


def places(data: Path | None, artifacts: str | None) -> Any:
    """Where data and artifacts lie, with what was not given at its default."""
    from trainables.scenario import Places

    given: dict[str, Any] = {"data": data, "artifacts": artifacts}
    return Places(**{name: place for name, place in given.items() if place is not None})
