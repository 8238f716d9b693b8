"""Checks of hyperparameters, for `__post_init__`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from trainables.errors import InvalidRequest


def check_at_least(minimum: float, **values: float) -> None:
    """Raises InvalidRequest for a value that is not finite or is below `minimum`."""
    for key, value in values.items():
        if not (math.isfinite(value) and value >= minimum):
            raise InvalidRequest(f"{key} is {value:g}; possible: {minimum:g} or more")


def check_one_of(options: Iterable[str], **values: str) -> None:
    """Raises InvalidRequest for a value that is none of `options`."""
    possible = list(options)
    for key, value in values.items():
        if value not in possible:
            raise InvalidRequest(f"{key} is {value!r}; possible: {', '.join(possible)}")


def check_positive(**values: float) -> None:
    """Raises InvalidRequest for a value that is not finite or not above 0."""
    for key, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise InvalidRequest(f"{key} is {value:g}; it must be above 0")
