"""Flags that follow from the specification: each key has one in every command that takes a study.

A flag's help is the text under the field, its type the field's; what cannot follow from a field
stands in the tables below. `commands` gives them to functions.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, Union
from typing import get_args as arguments_of
from typing import get_origin as origin_of

import typer

from search.cli import completing, options

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

COMMANDS = ("run", "prepare", "trial", "compare", "sensitivity", "classes")
"""Those that take a study."""

NAMES = {"scenario.seed": "--base-seed", "space": "--set"}
"""Flags that are not called as their keys are. `--seed` is the study's."""

OTHER_NAMES = {"trial": {"seed": "--study-seed"}}
"""Where a command has an option of its own by that name: `trial --seed` is the unlearning's."""

PREFIXED = ("inversion",)
"""Sections whose flags begin with their name, as others have keys of the same names."""

_OF_A_SEARCH = (
    *("name", "trials", "sampler", "pruner", "mia_tolerance", "gap_terms"),
    *("retries", "give_up_after", "time_budget", "concurrency"),
)

WITHOUT: dict[str, dict[str, str]] = {
    # prepare has them all: it builds what the same line with `run` in its place would need.
    "trial": {
        **dict.fromkeys(_OF_A_SEARCH, "a trial is alone: nothing is searched, chosen or stored"),
        "curves": "it is measured at its end",
        "resources.gpus_per_trial": "it runs here, without Ray, on the device that is there",
        "resources.fuse": "there is one trial",
    },
    "compare": {
        "name": "it makes a study of each method",
        "method": "the methods are its arguments",
    },
    "sensitivity": {
        "space": "its --set says what is fixed instead of the study's best",
        **dict.fromkeys(
            ("trials", "sampler", "pruner", "time_budget"),
            "its design says which trials there are, and all are run to their ends",
        ),
        "pool_samples": "what is repeated draws its own samples, always",
    },
    "classes": {"space": "its --set says what is fixed instead of the study's best"},
}
"""Keys without a flag in a command, and why they make no sense there."""

COMPLETED: dict[str, Callable[..., list[str]]] = {
    "name": completing.studies,
    "method": completing.methods,
    "sampler": completing.samplers,
    "pruner": completing.pruners,
    "scenario.dataset": completing.datasets,
    "scenario.model": completing.models,
    "resources.fuse": completing.one_of("auto"),
}

METAVARS = {
    "space": "NAME=...",
    "metrics": "NAME",
    "gap_terms": "TERM,...",
    "scenario.weights": "FILE",
    "scenario.held_out": "FILE",
    "scenario.image_size": "PIXELS",
}


class Flag(NamedTuple):
    """A flag: the key that it sets (`scenario.epochs`), its name (`--epochs`), what a word after it
    is taken for, and what help says of it."""

    key: str
    name: str
    kind: Any
    help: str
    choices: tuple[str, ...]

    @property
    def parameter(self) -> str:
        """The name of the parameter by which the command line hands its value over."""
        return self.name.removeprefix("--").replace("-", "_")

    @property
    def section(self) -> str:
        return "space" if self.key == "space" else self.key.rpartition(".")[0] or "study"

    def declared(self) -> inspect.Parameter:
        """The flag as a parameter of a command's function."""
        both = f"{self.name}/{self.name.replace('--', '--no-', 1)}"
        completed = COMPLETED.get(self.key)
        option = typer.Option(
            both if self.kind is bool else self.name,
            help=self.help,
            metavar=METAVARS.get(self.key),
            rich_help_panel=self.section.capitalize(),
            autocompletion=completing.one_of(*self.choices) if self.choices else completed,
            show_default=False,
        )
        return inspect.Parameter(
            self.parameter,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Optional[self.kind], option],  # noqa: UP045 (typer reads this form)
        )


def keys() -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a specification as `section.key`, and its field."""
    from search.definition.spec import SECTIONS, StudySpec

    for name, field in StudySpec.model_fields.items():
        if name in SECTIONS:
            for part, inner in SECTIONS[name].model_fields.items():
                yield f"{name}.{part}", inner
        else:
            yield name, field


def flags(command: str) -> list[Flag]:
    """The flags of one of `COMMANDS` that follow from the specification, section by section."""
    without = WITHOUT.get(command, {})
    names = {**NAMES, **OTHER_NAMES.get(command, {})}
    found = [
        Flag(key, names.get(key) or _name(key), _kind(key, field), _help(field), _choices(field))
        for key, field in keys()
        if key not in without
    ]
    order = list(dict.fromkeys(flag.section for flag in found))
    return sorted(found, key=lambda flag: order.index(flag.section))


def why_not(command: str, name: str) -> str | None:
    """Why a command lacks a flag that others have; None if there is no such flag at all."""
    for key, why in WITHOUT.get(command, {}).items():
        if name == (NAMES.get(key) or _name(key)):
            return why
    return None


def _name(key: str) -> str:
    section, _, name = key.rpartition(".")
    words = [section, name] if section in PREFIXED else [name]
    return "--" + "-".join(words).replace("_", "-")


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    default = field.default
    if default in (None, [], {}) or "[default:" in text:
        return text
    if isinstance(default, bool):
        default = "yes" if default else "no"
    return f"{text} [default: {default}]"


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation's types, without None and what only bounds them."""
    origin = origin_of(annotation)
    if origin is Annotated:
        yield from _parts(arguments_of(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in arguments_of(annotation):
            yield from _parts(part)
    elif annotation is not type(None):
        yield annotation


def _kind(key: str, field: FieldInfo) -> Any:
    """What a word of the command line is taken for: it has no type of its own."""
    if key in READ:
        return list[str] if key == "space" else str
    kinds = [str if origin_of(part) is Literal else part for part in _parts(field.annotation)]
    kind = kinds[0] if len(kinds) == 1 else str
    return list[str] if origin_of(kind) is list else kind


def _choices(field: FieldInfo) -> tuple[str, ...]:
    for part in _parts(field.annotation):
        inner = arguments_of(part)[0] if origin_of(part) is list else part
        if origin_of(inner) is Literal:
            return tuple(word for word in arguments_of(inner) if isinstance(word, str))
    return ()


def _pixels(text: str) -> list[int]:
    from trainables.errors import InvalidRequest

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(re.fullmatch(r"0*[1-9][0-9]{,8}", part) for part in parts):
        raise InvalidRequest(
            f"--image-size {text!r}: give pixels, as 32 or as 28x32 (rows x columns)"
        )
    return [int(parts[0]), int(parts[-1])]


def _terms(text: str) -> list[str]:
    return [term.strip() for term in text.split(",")]


def _number_or_word(text: str) -> int | str:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else text


READ: dict[str, Callable[[Any], Any]] = {
    "gap_terms": _terms,
    "space": options.settings,
    "scenario.image_size": _pixels,
    "resources.fuse": _number_or_word,
}
"""How words become a value, where that is not what its type says."""


def overrides(declared: Sequence[Flag], values: Mapping[str, Any]) -> dict[str, Any]:
    """What flags say, in the shape of a TOML file; only what was given. `values` are by parameter.

    --forget's words are left as they are: see `options.load`. Raises InvalidRequest for words that
    can mean nothing.
    """
    given: dict[str, Any] = {}
    for flag in declared:
        value = values.get(flag.parameter)
        if value is None or value == []:
            continue
        section, _, name = flag.key.rpartition(".")
        place = given.setdefault(section, {}) if section else given
        place[name] = READ.get(flag.key, lambda same: same)(value)
    return given
