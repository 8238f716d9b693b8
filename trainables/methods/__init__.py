"""The unlearning methods, by name. This table is the one place that lists them.

Third parties add theirs through the entry point group `forgetune.methods`, whose entries name a
class in the same shape as those here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import entry_points
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from trainables.errors import InvalidRequest, shortened, unknown

if TYPE_CHECKING:
    from typing import Protocol

    import torch
    from torch import nn

    from trainables.access import Access, Granted

    class Method(Protocol):
        """A frozen dataclass whose fields are the hyperparameters, defaults from the paper."""

        @property
        def needs(self) -> frozenset[Access]:
            """What it may touch; a class variable where no hyperparameter changes it."""
            ...

        def unlearn(
            self, model: nn.Module, access: Granted, rng: torch.Generator
        ) -> Iterator[nn.Module]:
            """Change `model` (a private copy), yielding it after each phase or epoch.

            What is yielded last is the result. Draw all randomness from `rng`.
            """
            ...


METHODS: dict[str, str] = {
    "original": "trainables.methods.original:Original",
    "retrain": "trainables.methods.retrain:Retrain",
    "mask": "trainables.methods.mask:Mask",
    "finetune": "trainables.methods.finetune:Finetune",
    "negative_gradient": "trainables.methods.negative_gradient:NegativeGradient",
    "random_labels": "trainables.methods.random_labels:RandomLabels",
    "amnesiac": "trainables.methods.amnesiac:Amnesiac",
    "bad_teacher": "trainables.methods.bad_teacher:BadTeacher",
    "scrub": "trainables.methods.scrub:Scrub",
    "scrub_r": "trainables.methods.scrub_r:ScrubRewind",
    "unsir": "trainables.methods.unsir:Unsir",
    "jit": "trainables.methods.jit:JiT",
    "gkt": "trainables.methods.gkt:GKT",
    "emmn": "trainables.methods.emmn:EMMN",
    "mugan": "trainables.methods.mugan:MuGAN",
    "zmugan": "trainables.methods.zmugan:ZMuGAN",
    "zdelete": "trainables.methods.zdelete:ZDelete",
}


MOST = 2**63 - 1
"""The largest whole number that a column of results can hold."""

LARGEST = 1e30
"""The largest other number; it can be multiplied a little before float32 is at its end."""


def available() -> dict[str, str]:
    """Name -> "module:class" of every method, third parties' included; ours go first."""
    return {**_theirs(), **METHODS}


@cache
def _theirs() -> dict[str, str]:
    # Looking through all installed packages takes milliseconds, and is asked for at every trial.
    return {entry.name: entry.value for entry in entry_points(group="forgetune.methods")}


def check_known(name: str) -> None:
    """Raises InvalidRequest if there is no method of this name. Imports no method."""
    if name not in available():
        raise InvalidRequest(unknown("method", name, available(), "forgetune methods"))


def load(name: str) -> type[Method]:
    """The class of a method. Raises InvalidRequest for an unknown or broken one."""
    check_known(name)
    module, _, attribute = available()[name].partition(":")
    try:
        loaded: type[Method] = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a third party's module may fail in any way
        raise InvalidRequest(f"method {name!r} cannot be loaded: {error}") from error
    return loaded


def hyperparameters(name: str) -> dict[str, Any]:
    """Hyperparameter -> default of a method. Raises InvalidRequest for an unknown method."""
    return {field.name: field.default for field in fields(load(name))}  # type: ignore[arg-type]


def is_plan(name: str) -> bool:
    """Whether trials of a method can share their steps: it is no more than passes over samples,
    which its `plan` gives (`trainables.training.passes`). Raises InvalidRequest for an unknown
    method."""
    return hasattr(load(name), "plan")


def is_control(name: str) -> bool:
    """Whether a method is there to be compared with: it does well in figures and forgets nothing.
    Raises InvalidRequest for an unknown method."""
    return bool(getattr(load(name), "control", False))


def check_log(name: str, weights: str | None) -> None:
    """Raises InvalidRequest for a method that needs the training log where the base model comes
    from a file of `weights`: its training was not ours to be logged."""
    from trainables.access import Access

    if weights is None or Access.LOG not in make(name, {}).needs:
        return
    able = [other for other in METHODS if Access.LOG not in make(other, {}).needs]
    raise InvalidRequest(
        f"{name} needs the {Access.LOG} of the base model, and of weights from a file "
        f"({weights}) there is none; possible: {', '.join(able)}"
    )


def make(name: str, values: Mapping[str, Any]) -> Method:
    """A method with these hyperparameters; whole numbers are taken for floats where they fit.

    Raises InvalidRequest for an unknown method or hyperparameter and an impossible value.
    """
    kind = load(name)
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise InvalidRequest(
                unknown(f"hyperparameter of {name}", key, known, f"forgetune spaces {name}")
            )
    try:
        return kind(**{key: _typed(key, value, hints[key]) for key, value in values.items()})
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error}") from None


def mixed(name: str) -> frozenset[str]:
    """The hyperparameters of a method that are one of some words or a number, as `layers` is.

    Raises InvalidRequest for an unknown method.
    """
    hints = get_type_hints(load(name))
    return frozenset(key for key in hyperparameters(name) if _words_or_number(hints[key]))


def _words_or_number(wanted: Any) -> tuple[Any, type] | None:
    """The parts of a type such as `Literal["all"] | int`; None of any other."""
    parts = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else ()
    words = [part for part in parts if get_origin(part) is Literal]
    numbers = [part for part in parts if part in (int, float)]
    if len(parts) == 2 and words and numbers:
        return words[0], numbers[0]
    return None


def _typed(key: str, value: Any, wanted: Any) -> Any:
    if both := _words_or_number(wanted):
        words, number = both
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value)  # as a column of results has it
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _typed(key, value, number)
        if value in get_args(words):
            return value
        possible = f"{', '.join(get_args(words))}, or a number"
        raise InvalidRequest(f"{key} is {shortened(value)}; possible: {possible}")
    if get_origin(wanted) is not None and get_args(wanted):
        options = get_args(wanted)
        if value not in options:
            told = f"{key} is {shortened(value)}; possible: {', '.join(map(str, options))}"
            raise InvalidRequest(told)
        return value
    if type(value) is int and abs(value) > MOST:
        raise InvalidRequest(f"{key} is too large; possible: up to {MOST}")
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        kind = {int: "whole number", float: "number", bool: "truth value"}.get(wanted, "word")
        raise InvalidRequest(f"{key} is {shortened(value)}; a {kind} is needed")
    if type(value) is float and not abs(value) <= LARGEST:
        raise InvalidRequest(f"{key} is {value:g}; possible: -{LARGEST:g} to {LARGEST:g}")
    return value
