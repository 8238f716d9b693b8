"""Samplers by name.

A sampler is made anew for each trial, seeded by the study's seed and the trial's number, so that a
study that was interrupted draws on as it would have. With `random`, `sobol` and `grid` a trial's
draw follows from its number alone; so it does with `listed`, which goes through given lists.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler

from trainables.errors import InvalidRequest, unknown

GRID_POINTS = 5
"""Grid points of a numeric parameter; give a list (`--set name=a,b,c`) for others."""

Distributions = Mapping[str, BaseDistribution]


def derive_seed(*parts: object) -> int:
    """A seed (0 to 2^31 - 1) that follows from `parts`."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class DesignSampler(BaseSampler):
    """Points of a design that is fixed beforehand: trial n gets point n.

    Optuna's QMCSampler and GridSampler hand out the next point that is free, so what a trial gets
    depends on which others were running; here it does not.
    """

    def __init__(self, point: Callable[[int], Mapping[str, Any]]) -> None:
        self._point = point

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._point(trial.number)[param_name]


def _sobol(seed: int, number: int, distributions: Distributions) -> BaseSampler:
    """Scrambled Sobol points (Sobol 1967; Owen 1998)."""
    from scipy.stats.qmc import Sobol

    names = sorted(distributions)

    def point(index: int) -> dict[str, Any]:
        engine = Sobol(len(names), scramble=True, rng=derive_seed(seed, "sobol"))
        if index:  # SciPy refuses to go forward by nothing
            engine.fast_forward(index)
        uniform = engine.random(1)[0]
        return {
            name: from_unit(float(u), distributions[name])
            for name, u in zip(names, uniform, strict=True)
        }

    return DesignSampler(point)


def _grid(seed: int, number: int, distributions: Distributions) -> BaseSampler:
    points = grid(seed, distributions)
    return DesignSampler(lambda index: points[index % len(points)])


def _listed(seed: int, number: int, distributions: Distributions) -> BaseSampler:
    """The n-th of every list, and from the start again: a design made elsewhere."""
    lists = {name: d.choices for name, d in _lists(distributions).items()}
    return DesignSampler(
        lambda index: {name: values[index % len(values)] for name, values in lists.items()}
    )


def _lists(distributions: Distributions) -> dict[str, CategoricalDistribution]:
    lists = {n: d for n, d in distributions.items() if isinstance(d, CategoricalDistribution)}
    if len(lists) < len(distributions) or len({len(d.choices) for d in lists.values()}) > 1:
        sizes = {
            name: len(lists[name].choices) if name in lists else "a range" for name in distributions
        }
        found = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise InvalidRequest(
            f"the sampler listed takes lists of one length (--set name=a,b,c); here: {found}"
        )
    return lists


def grid(seed: int, distributions: Distributions) -> list[dict[str, Any]]:
    """All points of the grid, in an order shuffled by `seed`."""
    axes = {name: _axis(distribution) for name, distribution in sorted(distributions.items())}
    size = math.prod(len(axis) for axis in axes.values())
    if size > 100_000:
        raise InvalidRequest(
            f"the grid has {size:,} points; fix some parameters or give short lists with --set"
        )
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    random.Random(derive_seed(seed, "grid")).shuffle(points)
    return points


def _axis(distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(dict.fromkeys(distribution.choices))
    steps = [from_unit(i / (GRID_POINTS - 1), distribution) for i in range(GRID_POINTS)]
    return list(dict.fromkeys(steps))


def from_unit(u: float, distribution: BaseDistribution) -> Any:
    """The value at share `u` (0 to 1) of a distribution, on its own scale."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return choices[min(int(u * len(choices)), len(choices) - 1)]
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"no design over {distribution}")
    low, high, step = distribution.low, distribution.high, distribution.step
    half = (step or 0) / 2  # so that the ends are as likely as what lies between
    if distribution.log:
        start, end = math.log(low - half), math.log(high + half)
        value = math.exp(start + u * (end - start))
    else:
        value = low - half + u * (high - low + 2 * half)
    if step:
        value = low + round((value - low) / step) * step
    value = min(max(value, low), high)
    return int(value) if isinstance(distribution, IntDistribution) else value


def _tpe(seed: int, number: int, distributions: Distributions) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=derive_seed(seed, number), n_startup_trials=15)


def _random(seed: int, number: int, distributions: Distributions) -> BaseSampler:
    def point(index: int) -> dict[str, Any]:
        return {
            name: from_unit(random.Random(derive_seed(seed, index, name)).random(), distribution)
            for name, distribution in distributions.items()
        }

    return DesignSampler(point)


def _nsga2(seed: int, number: int, distributions: Distributions) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=derive_seed(seed, number), population_size=20)


def _gp(seed: int, number: int, distributions: Distributions) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=derive_seed(seed, number), n_startup_trials=15)


SAMPLERS: dict[str, Callable[[int, int, Distributions], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "nsga2": _nsga2,
    "random": _random,
    "sobol": _sobol,
    "grid": _grid,
    "listed": _listed,
}


def check_known(name: str) -> None:
    """Raises InvalidRequest if there is no sampler of this name."""
    if name not in SAMPLERS:
        raise InvalidRequest(unknown("sampler", name, SAMPLERS))


def make(name: str, seed: int, number: int, distributions: Distributions) -> BaseSampler:
    """The sampler that draws trial `number` of a study with this seed."""
    check_known(name)
    return SAMPLERS[name](seed, number, distributions)


def limit(name: str, seed: int, distributions: Distributions) -> int | None:
    """How many different trials the sampler has to offer, if that is limited.

    Raises InvalidRequest for a space that the sampler can make nothing of.
    """
    if name == "listed":
        _lists(distributions)
    return len(grid(seed, distributions)) if name == "grid" else None
