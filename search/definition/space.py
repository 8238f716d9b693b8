"""A method's search space with the user's overrides: bounds, choices, fixed values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

import spaces
from trainables import methods
from trainables.errors import InvalidRequest, shortened, unknown

Value = bool | int | float | str
Override = Value | list[Value]
"""As a user writes it: a value (fixed), a list (choices) or "LOW..HIGH" (bounds)."""


EXACT = 2**53
"""Up to here samplers, which reckon in floating point, know each whole number."""


@dataclass(frozen=True)
class Range:
    """New bounds of a parameter, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True)
class Choices:
    """A parameter that takes one of these values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Fixed:
    """A parameter that is not searched."""

    value: Value


def parse_setting(text: str) -> tuple[str, Override]:
    """`name=value`, `name=a,b,c` or `name=low..high`, as on the command line.

    Raises InvalidRequest for anything else.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise InvalidRequest(
            f"--set {shortened(text)}: possible are NAME=VALUE, NAME=A,B,C and NAME=LOW..HIGH"
        )
    items = [_scalar(item.strip()) for item in value.split(",")]
    return name, items if len(items) > 1 else items[0]


def _scalar(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _number(text: str) -> int | float | None:
    value = _scalar(text.strip())
    if isinstance(value, bool | str):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number that no float can hold
        return None


def parse_override(name: str, value: Override) -> Range | Choices | Fixed:
    """What an override means. Raises InvalidRequest for bounds that are none."""
    if isinstance(value, list):
        if not value:
            raise InvalidRequest(f"{name}: an empty list leaves nothing to choose from")
        return Choices(tuple(value))
    if not isinstance(value, str) or ".." not in value:
        return Fixed(value)
    low, high = value.split("..", 1)
    numbers = [number for number in map(_number, (low, high)) if number is not None]
    if len(numbers) != 2:
        raise InvalidRequest(
            f"{name} = {shortened(value)}: bounds are written LOW..HIGH, with numbers"
        )
    if not numbers[0] < numbers[1]:
        raise InvalidRequest(
            f"{name} = {shortened(value)}: the lower bound must be below the upper one"
            f" (did you mean {high.strip()[:60]}..{low.strip()[:60]}?)"
        )
    return Range(*numbers)


class _Overridden:
    """A trial that suggests what the user's overrides say; the rest it leaves to Optuna's."""

    def __init__(self, trial: Any, overrides: Mapping[str, Range | Choices | Fixed]) -> None:
        self._trial = trial
        self._overrides = overrides

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        match self._overrides.get(name):
            case Range(new_low, new_high):
                low, high = float(new_low), float(new_high)
                if max(abs(low), abs(high)) > methods.LARGEST:
                    raise InvalidRequest(
                        f"{name} = {low:g}..{high:g}: bounds are up to {methods.LARGEST:g}"
                    )
                if log and low <= 0:
                    raise InvalidRequest(
                        f"{name} = {low:g}..{high:g}: it varies on a logarithmic scale, so its "
                        "bounds must be above 0"
                    )
            case Choices(values):
                return self._trial.suggest_categorical(name, values)
            case Fixed(value):
                return value
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Any:
        match self._overrides.get(name):
            case Range(new_low, new_high):
                if new_low != int(new_low) or new_high != int(new_high):
                    raise InvalidRequest(
                        f"{name} = {new_low}..{new_high}: it is a whole number, and so must be "
                        "its bounds"
                    )
                low, high = int(new_low), int(new_high)
                if max(abs(low), abs(high)) > EXACT:
                    raise InvalidRequest(
                        f"{name} = {new_low}..{new_high}: bounds of whole numbers are up to {EXACT}"
                    )
                if log and low < 1:
                    raise InvalidRequest(
                        f"{name} = {low}..{high}: it varies on a logarithmic scale, so its bounds "
                        "must be 1 or more"
                    )
            case Choices(values):
                return self._trial.suggest_categorical(name, values)
            case Fixed(value):
                return value
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        match self._overrides.get(name):
            case Range(low, high):
                raise InvalidRequest(
                    f"{name} = {low}..{high}: it takes one of {', '.join(map(str, choices))}; "
                    "give a value or a list, not bounds"
                )
            case Choices(values):
                choices = values
            case Fixed(value):
                return value
        return self._trial.suggest_categorical(name, choices)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)


class _Probe:
    """A trial that writes down what it is asked for, answering with each first possibility."""

    def __init__(self) -> None:
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.distributions[name] = FloatDistribution(low, high, log=log, step=step)
        return low

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        self.distributions[name] = IntDistribution(low, high, log=log, step=step)
        return low

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.distributions[name] = CategoricalDistribution(choices)
        return choices[0]


class SearchSpace:
    """What may vary in a study of `method`.

    Raises InvalidRequest for an unknown method or parameter and for impossible bounds or values.
    """

    def __init__(self, method: str, overrides: Mapping[str, Override] | None = None) -> None:
        self._method = method
        self._suggest = spaces.load(method)
        self._overrides = {n: parse_override(n, v) for n, v in (overrides or {}).items()}
        plain = _Probe()
        self._suggest(plain)  # type: ignore[arg-type]
        known = methods.hyperparameters(method)
        for name, override in self._overrides.items():
            if name not in known:
                raise InvalidRequest(
                    unknown(
                        f"hyperparameter of {method}", name, known, f"forgetune spaces {method}"
                    )
                )
            if isinstance(override, Range) and name not in plain.distributions:
                raise InvalidRequest(
                    f"{name} is not in the search space of {method}; give a value or a list, "
                    "not bounds"
                )
        # Ranges and choices are tried at both ends, so that an impossible one is refused here.
        probe = _Probe()
        lowest = self.suggest(probe)
        self.distributions: dict[str, BaseDistribution] = probe.distributions
        tried = [methods.make(method, lowest)] + [
            methods.make(method, {**lowest, name: value})
            for name, distribution in self.distributions.items()
            for value in _ends(distribution)
        ]
        self.needs = frozenset().union(*(made.needs for made in tried))
        """What some trial may touch."""

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Hyperparameters of one trial, from an Optuna trial (or one in its shape)."""
        values = self._suggest(_Overridden(trial, self._overrides))  # type: ignore[arg-type]
        for name, override in self._overrides.items():
            if name not in values:
                match override:
                    case Fixed(value):
                        values[name] = value
                    case Choices(choices):
                        values[name] = trial.suggest_categorical(name, choices)
        return values

    def largest(self, name: str) -> Any:
        """The largest number that trials can have of a hyperparameter; None if the method has none
        of this name, or it is always a word."""
        known = methods.hyperparameters(self._method)
        if name not in known:
            return None
        if name in self.distributions:
            ends = _ends(self.distributions[name])
        else:
            override = self._overrides.get(name)
            ends = (override.value if isinstance(override, Fixed) else known[name],)
        return max((value for value in ends if not isinstance(value, str)), default=None)

    def describe(self) -> dict[str, str]:
        """Parameter -> its possibilities in one line, fixed ones last."""
        lines = {name: describe(d) for name, d in self.distributions.items()}
        fixed = {n: str(o.value) for n, o in self._overrides.items() if isinstance(o, Fixed)}
        return {**lines, **fixed}

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that follow from what may vary and how."""
        fixed = {n: o.value for n, o in self._overrides.items() if isinstance(o, Fixed)}
        text = repr((sorted(self.distributions.items()), sorted(fixed.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    match distribution:
        case FloatDistribution() | IntDistribution():
            return (distribution.low, distribution.high)
        case CategoricalDistribution():
            return distribution.choices
    return ()


def describe(distribution: BaseDistribution) -> str:
    """One line for people: bounds and scale, or choices."""
    match distribution:
        case FloatDistribution() | IntDistribution():
            scale = "log" if distribution.log else "linear"
            whole = ", whole" if isinstance(distribution, IntDistribution) else ""
            return f"{distribution.low:g}..{distribution.high:g} ({scale}{whole})"
        case CategoricalDistribution():
            return "one of " + ", ".join(map(str, distribution.choices))
    return str(distribution)
