"""Designed sweeps over one or two hyperparameters (tables 7-14 of the thesis)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from search.definition.names import cut, mark
from search.definition.samplers import derive_seed, from_unit
from search.definition.space import Override, SearchSpace
from search.definition.spec import StudySpec
from search.designs.repeats import repeated
from trainables import methods
from trainables.errors import InvalidRequest

PAPER: dict[str, list[Any]] = {
    "samples_per_class": [100, 300, 500, 1_000, 2_500, 5_000, 10_000],
    "samples_per_generator": [100, 200, 300, 500, 1_000, 2_000],
    "learning_rate": [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    "generators": [1, 2, 3, 4, 5],
}
"""The grids of tables 7-8, 9-10 and 11-14, and of the number of generators (5.1)."""

DESIGNS = ("grid", "sobol")
MOST_POINTS = 10_000

Point = dict[str, Any]


def paper_sweeps(method: str) -> list[dict[str, Override]]:
    """The thesis' sweeps that a method has the hyperparameters for."""
    known = methods.hyperparameters(method)
    return [{name: values} for name, values in PAPER.items() if name in known]


def design(
    spec: StudySpec, wanted: Mapping[str, Override | None], count: int, kind: str
) -> list[Point]:
    """Points over the hyperparameters `wanted`: listed values, bounds, or None for the study's own.

    "grid" takes `count` values of each range, evenly on the range's scale, and every combination;
    "sobol" takes `count` points in all (scrambled; Sobol 1967, Owen 1998). Listed values are taken
    as they are. Raises InvalidRequest for unknown hyperparameters, impossible bounds and values,
    and what has no range of its own and got no values.
    """
    overrides = {name: value for name, value in wanted.items() if value is not None}
    lists = {n: v if isinstance(v, list) else [v] for n, v in overrides.items() if not _bounds(v)}
    space = SearchSpace(spec.method, {**spec.space, **overrides, **lists})
    axes: dict[str, BaseDistribution] = {}
    for name in wanted:
        if name not in methods.hyperparameters(spec.method):
            SearchSpace(spec.method, {name: 0})  # says what there is
        if name not in space.distributions:
            raise InvalidRequest(
                f"{name} does not vary in this study; say which values to take ({name}=A,B,C)"
            )
        axes[name] = space.distributions[name]
    points = _sobol(spec, axes, count) if kind == "sobol" else _grid(axes, count)
    distinct = list({json.dumps(point): point for point in points}.values())
    if len(distinct) > MOST_POINTS:
        raise InvalidRequest(f"the design has {len(distinct):,} points; {MOST_POINTS:,} at most")
    return distinct


def _bounds(value: Override) -> bool:
    return isinstance(value, str) and ".." in value


def _grid(axes: Mapping[str, BaseDistribution], count: int) -> list[Point]:
    values = [_steps(axis, count) for axis in axes.values()]
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*values)]


def _steps(axis: BaseDistribution, count: int) -> list[Any]:
    if isinstance(axis, CategoricalDistribution):
        return list(dict.fromkeys(axis.choices))
    shares = [0.5] if count == 1 else [index / (count - 1) for index in range(count)]
    return list(dict.fromkeys(from_unit(share, axis) for share in shares))


def _sobol(spec: StudySpec, axes: Mapping[str, BaseDistribution], count: int) -> list[Point]:
    from scipy.stats.qmc import Sobol

    engine = Sobol(len(axes), scramble=True, rng=derive_seed(spec.seed, "sweep"))
    # SciPy warns of numbers that are no power of two; the first points are the same.
    uniform = engine.random(1 << (count - 1).bit_length())[:count]
    return [
        {name: from_unit(float(u), axis) for u, (name, axis) in zip(row, axes.items(), strict=True)}
        for row in uniform
    ]


def sweep(
    spec: StudySpec, points: list[Point], fixed: Mapping[str, Any], repeats: int
) -> StudySpec:
    """The study that runs each point `repeats` times, all else `fixed`; `spec` must be resolved.

    Its name follows from the design, so that the same sweep goes on where it was and another one is
    another study.
    """
    names = list(points[0])
    space = {**fixed, **{name: [point[name] for point in points] for name in names}}
    assert spec.name is not None
    about = mark(space, spec.scenario.model_dump(mode="json"), spec.seed)
    name = f"{cut(spec.name, 50)}-by-{'-'.join(names)[:30]}-{about}"
    trials = len(points) * repeats
    return repeated(spec, name, trials, space).model_copy(update={"sampler": "listed"})


def swept(spec: Mapping[str, Any]) -> list[str]:
    """The hyperparameters that vary in a stored sweep."""
    return [name for name, value in spec["space"].items() if isinstance(value, list)]
