"""Options that several commands have in common, and what they come to."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

SpecFile = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads this form)
    typer.Argument(
        help="TOML file that describes the study; - reads standard input", metavar="SPEC.toml"
    ),
]


def _located(place: str) -> Path:
    from search.store.mirror import locate
    from trainables.errors import InvalidRequest

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
    ),
]
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="folder of datasets (downloads go there) [default: user's cache]"),
]
Artifacts = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="folder of models and generators, or a URI [default: user's cache]", metavar="PLACE"
    ),
]
Method = Annotated[Optional[str], typer.Option(help="see `forgetune methods`")]  # noqa: UP045
Dataset = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="see `forgetune datasets`; or a .npz file, or a folder of images"),
]
Model = Annotated[Optional[str], typer.Option(help="allcnn, vgg16 or resnet9")]  # noqa: UP045
Width = Annotated[Optional[float], typer.Option(help="factor on the model's channels")]  # noqa: UP045
Forget = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        help="class to forget, by name or number (from 0), a name first; repeat for several"
    ),
]
Gan = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="what MuGAN draws from: dcgan, cgan or wgan-gp [default: dcgan]"),
]
Precision = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="of unlearning: float32, or bfloat16 where the processor has it [default: float32]"
    ),
]
Weights = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help=".safetensors file of the base model, which is then not trained"),
]
ValidationFrom = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="where validation images are taken from: training, or test (half of each class) "
        "[default: training; test with --weights]"
    ),
]
ValidationFraction = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        help="share of the training images that is for validation [default: suits the dataset]"
    ),
]
HeldOut = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="text file of the training images that are for validation, one a line: an index, or "
        "a path below train/"
    ),
]
ImageSize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="pixels of the model's images where there is no dataset: 32 or 28x32"),
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
Metrics = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="expensive metrics to measure too: anamnesis, synthetic", metavar="NAME"),
]
GapTerms = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="what the gap is the mean of: forget_accuracy,retain_accuracy,mia or these and probe, "
        "by which who only switches an output off does not look well [default: without]",
        metavar="TERM,...",
    ),
]
Dashboard = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="where the cluster's jobs are asked for [default: http://127.0.0.1:8265]"),
]
OptionalInt = Optional[int]  # noqa: UP045
OptionalFloat = Optional[float]  # noqa: UP045
OptionalStr = Optional[str]  # noqa: UP045


def given(**values: Any) -> dict[str, Any]:
    """What was given on the command line."""
    return {key: value for key, value in values.items() if value not in (None, {})}


def scenario(
    dataset: str | None,
    model: str | None,
    width: float | None,
    forget: list[str] | None,
    gan: str | None,
    weights: Path | None = None,
    image_size: str | None = None,
    precision: str | None = None,
    validation_from: str | None = None,
    validation_fraction: float | None = None,
    held_out: Path | None = None,
) -> dict[str, Any]:
    """The scenario of a specification, as far as it was given, with --forget's words as they are:
    see `load`."""
    return given(
        dataset=dataset,
        model=model,
        width=width,
        forget=forget or None,
        gan=gan,
        weights=None if weights is None else str(weights),
        image_size=None if image_size is None else _pixels(image_size),
        precision=precision,
        validation_from=validation_from,
        validation_fraction=validation_fraction,
        held_out=None if held_out is None else str(held_out),
    )


def terms(text: str | None) -> list[str] | None:
    """The terms of a gap, as a specification has them."""
    return None if text is None else [term.strip() for term in text.split(",")]


def load(path: Path | None, given: dict[str, Any], places: Any) -> Any:
    """The specification that a file and the options describe. What the words of --forget say shows
    only in the dataset, which is read for it. Raises InvalidRequest."""
    from search.definition.reading import load_spec
    from search.definition.resolving import with_words

    loaded = load_spec(path, given)
    words = given.get("scenario", {}).get("forget")
    return with_words(loaded, words, places) if words else loaded


def _pixels(text: str) -> list[int]:
    from trainables.errors import InvalidRequest

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(re.fullmatch(r"0*[1-9][0-9]{,8}", part) for part in parts):
        raise InvalidRequest(
            f"--image-size {text!r}: give pixels, as 32 or as 28x32 (rows x columns)"
        )
    return [int(parts[0]), int(parts[-1])]


def zero_shot(overrides: dict[str, Any]) -> dict[str, Any]:
    """No dataset, and what follows from that; what was given otherwise is refused later."""
    without = {"dataset": "none", **overrides.get("scenario", {})}
    return {"method": "zdelete", "objective": "synthetic", **overrides, "scenario": without}


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

    return Places(**given(data=data, artifacts=artifacts))
