"""What the values of a specification's fields can be: types with bounds, for pydantic.

Their errors say what is possible; `reading` puts the key and the value before them.
"""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
)

from trainables.methods import LARGEST
from trainables.metrics.gap import PROBED, TERMS
from trainables.scenario import MOST_SEED

AUTO = "auto"
"""As many trials share a place as suit the machine."""

MOST_TOGETHER = 1_024
"""Trials that can share a place, and CPUs that a trial can hold."""

MOST_OF_A_PATH = 4_096
"""Bytes of a path that systems take (PATH_MAX)."""


def _check_fuse(value: Any) -> Any:
    if value != AUTO and (type(value) is not int or not 1 <= value <= MOST_TOGETHER):
        most = f"(at most {MOST_TOGETHER})"
        raise ValueError(f"it should be a whole number from 1 on, or {AUTO} {most}")
    return value


def _check_gpus(value: float) -> float:
    # Ray counts GPUs in ten thousandths, and beyond one in whole ones.
    if value and not 1e-4 <= value <= (1 if value % 1 else MOST_TOGETHER):
        raise ValueError("possible: 0, a fraction from 0.0001 on, or whole GPUs")
    return value


def _within(low: float, high: float, above: bool = False) -> AfterValidator:
    """Bounds, both included unless the number must be `above` the lower one."""

    def check(value: float) -> float:
        if not low <= value <= high or (above and value == low):
            raise ValueError(f"possible: {'above ' if above else ''}{low:g} to {_figure(high)}")
        return value

    return AfterValidator(check)


def _check_path(text: str) -> str:
    if "\0" in text or len(os.fsencode(text)) > MOST_OF_A_PATH:
        raise ValueError(f"a path has no NUL and at most {MOST_OF_A_PATH} bytes")
    return text


def _check_class(value: Any) -> int | str:
    """NumPy's integers and strings as Python's."""
    if isinstance(value, str):
        return str(value)
    with contextlib.suppress(TypeError):
        if not isinstance(value, bool):
            return operator.index(value)
    raise ValueError("give a whole number, which is an index, or a name in quotes")


def _listed(value: Any) -> Any:
    """Several of whatever holds several."""
    with contextlib.suppress(TypeError):
        if not isinstance(value, str | bytes | Mapping):
            return list(value)
    raise ValueError("give a list of classes, [3] or ['cat']")


def _figure(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


GapTerm = Literal["forget_accuracy", "retain_accuracy", "mia", "probe"]


def _check_gap_terms(terms: list[GapTerm]) -> list[GapTerm]:
    """In one order, as the order says nothing."""
    for known in (TERMS, PROBED):
        if sorted(terms) == sorted(known):
            return [term for term in get_args(GapTerm) if term in known]
    raise ValueError(f"possible: {', '.join(TERMS)}; or these and probe")


Plain = StrictBool | StrictInt | float | StrictStr
Located = Annotated[str, AfterValidator(_check_path)]
Class = Annotated[int | str, PlainValidator(_check_class)]
Seed = Annotated[int, _within(0, MOST_SEED)]
Count = Annotated[int, _within(1, 1_000_000_000)]
CountOrNone = Annotated[int, _within(0, 1_000_000_000)]
Batch = Annotated[int, _within(2, 1_048_576)]
Pixels = Annotated[int, _within(1, 4_096)]
Seconds = Annotated[float, _within(0, 1e9, above=True)]  # which timers can wait for
Rate = Annotated[float, _within(0, LARGEST, above=True)]
Weight = Annotated[float, _within(0, LARGEST)]
Points = Annotated[float, _within(0, 100)]
Width = Annotated[float, _within(0, 16, above=True)]
Share = Annotated[float, Field(gt=0, lt=1)]
Forgotten = Annotated[list[Class], BeforeValidator(_listed)]
Size = Annotated[list[Pixels], Field(min_length=2, max_length=2)]
Terms = Annotated[list[GapTerm], AfterValidator(_check_gap_terms)]
Together = Annotated[int, _within(1, MOST_TOGETHER)]
Gpus = Annotated[float, AfterValidator(_check_gpus)]
Fused = Annotated[int | Literal["auto"], PlainValidator(_check_fuse)]
