"""Samplers: what a trial draws follows from seed and number, designs cover what they claim."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from search.definition import samplers
from search.definition.samplers import derive_seed, from_unit, grid, limit, make
from search.ledger.ledger import Ledger
from tests.search.toys import FINGERPRINT, only_line, toy_outcome, toy_spec
from trainables.errors import InvalidRequest

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "epochs": IntDistribution(1, 3),
    "size": CategoricalDistribution([16, 32, 64]),
}
DESIGNS = ("random", "sobol", "grid")
ALL = ("tpe", "gp", "nsga2", *DESIGNS)
Draw = dict[str, Any]


def suggest(trial: optuna.Trial, space: dict[str, BaseDistribution] = SPACE) -> Draw:
    """What a trial draws from a space."""
    return {name: trial._suggest(name, distribution) for name, distribution in space.items()}


def draw(name: str, number: int, seed: int = 0, earlier: str = "running") -> Draw:
    """What trial `number` draws in a study of its own whose earlier trials are in this state."""
    study = optuna.create_study(directions=["minimize", "maximize"])
    for index in range(number):
        if earlier == "running":
            study.ask()
        elif earlier == "failed":
            study.add_trial(create_trial(state=TrialState.FAIL))
        else:
            study.sampler = make(name, seed, index, SPACE)
            trial = study.ask()
            suggest(trial)
            study.tell(trial, [float(index), 1.0])
    study.sampler = make(name, seed, number, SPACE)
    return suggest(study.ask())


def points(
    name: str, count: int, space: dict[str, BaseDistribution] = SPACE, seed: int = 0
) -> list[Draw]:
    """The first draws of a study in which nothing finishes."""
    study = optuna.create_study()
    found = []
    for number in range(count):
        study.sampler = make(name, seed, number, space)
        found.append(suggest(study.ask(), space))
    return found


def test_a_derived_seed_is_the_first_31_bits_of_the_sha256_of_its_parts() -> None:
    digest = hashlib.sha256(b"7:unlearning:12").hexdigest()
    assert derive_seed(7, "unlearning", 12) == int(digest[:8], 16) >> 1


@given(parts=st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_derived_seeds_fit_31_bits(parts: list[object]) -> None:
    assert 0 <= derive_seed(*parts) < 2**31


def test_derived_seeds_of_trials_and_studies_do_not_meet() -> None:
    seeds = {derive_seed(study, number) for study in range(20) for number in range(50)}
    assert len(seeds) == 1000


@pytest.mark.parametrize("earlier", ["running", "failed", "complete"])
@pytest.mark.parametrize("name", DESIGNS)
def test_a_draw_follows_from_the_number_alone_whatever_others_do(name: str, earlier: str) -> None:
    in_order = points(name, 8)
    out_of_order = {number: draw(name, number, earlier=earlier) for number in (5, 0, 7, 2)}
    assert out_of_order == {number: in_order[number] for number in out_of_order}


@pytest.mark.parametrize("name", DESIGNS)
def test_trials_draw_different_points(name: str) -> None:
    found = points(name, 8)
    assert len({tuple(point.values()) for point in found}) == 8


@pytest.mark.parametrize("name", ALL)
def test_the_seed_of_a_study_decides_its_draws(name: str) -> None:
    first = points(name, 6, seed=1)
    assert points(name, 6, seed=1) == first
    assert points(name, 6, seed=2) != first


@pytest.mark.parametrize(
    ("distribution", "axis"),
    [
        (FloatDistribution(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (FloatDistribution(1e-4, 1.0, log=True), [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        (IntDistribution(1, 3), [1, 2, 3]),
        (IntDistribution(0, 100), [0, 25, 50, 75, 100]),
        (CategoricalDistribution(["a", "b"]), ["a", "b"]),
    ],
)
def test_an_axis_of_the_grid_is_five_points_with_both_ends_or_all_there_are(
    distribution: BaseDistribution, axis: Sequence[Any]
) -> None:
    found = sorted(point["x"] for point in grid(0, {"x": distribution}))
    assert found == (pytest.approx(axis) if isinstance(axis[0], float) else axis)


def test_the_grid_visits_every_point_once_and_limit_tells_how_many() -> None:
    size = limit("grid", 0, SPACE)
    assert size == 5 * 3 * 3
    visited = Counter(
        (round(math.log10(point["rate"]), 6), point["epochs"], point["size"])
        for point in points("grid", size)
    )
    rates = (-4.0, -3.25, -2.5, -1.75, -1.0)
    assert visited == Counter(itertools.product(rates, (1, 2, 3), (16, 32, 64)))


def test_the_grid_is_shuffled_so_that_a_part_of_it_covers_every_parameter() -> None:
    part = points("grid", 15)
    assert all(len({point[name] for point in part}) >= 3 for name in SPACE)


def test_the_grid_of_a_space_without_parameters_is_one_point() -> None:
    assert grid(0, {}) == [{}]


def test_a_choice_that_is_listed_twice_is_one_point_of_the_grid() -> None:
    assert limit("grid", 0, {"x": CategoricalDistribution([16, 32, 16])}) == 2


def test_a_grid_too_large_to_finish_is_refused_with_its_size() -> None:
    space = {f"x{index}": FloatDistribution(0, 1) for index in range(8)}
    with pytest.raises(InvalidRequest) as caught:
        limit("grid", 0, space)
    message = only_line(str(caught.value))
    assert "390,625 points" in message
    assert "--set" in message


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "random", "sobol"])
def test_only_the_grid_is_limited(name: str) -> None:
    assert limit(name, 0, SPACE) is None


POSITIVE = st.floats(1e-6, 1e6)
SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=10)


@st.composite
def scales(draw: st.DrawFn) -> FloatDistribution | IntDistribution:
    """Numeric distributions of every kind: float and int, linear, log, in steps."""
    kind = draw(st.sampled_from(["float", "log", "step", "int", "int log", "int step"]))
    if kind == "float":
        low, high = sorted(draw(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))))
        return FloatDistribution(low, high)
    if kind == "log":
        low, high = sorted(draw(st.tuples(POSITIVE, POSITIVE)))
        return FloatDistribution(low, high, log=True)
    size, count = draw(st.integers(1, 9)), draw(st.integers(1, 50))
    if kind == "step":  # binary fractions, so that the ends are exact
        low = draw(st.integers(-100, 100))
        return FloatDistribution(low, low + count * size / 8, step=size / 8)
    low = draw(st.integers(1 if kind == "int log" else -1000, 1000))
    if kind == "int step":
        return IntDistribution(low, low + count * size, step=size)
    return IntDistribution(low, low + count, log=kind == "int log")


@given(distribution=scales(), shares=SHARES)
def test_shares_map_to_values_of_the_distribution(
    distribution: FloatDistribution | IntDistribution, shares: list[float]
) -> None:
    whole = isinstance(distribution, IntDistribution)
    for share in shares:
        value = from_unit(share, distribution)
        assert distribution.low <= value <= distribution.high
        assert type(value) is (int if whole else float)
        if distribution.step is not None:
            assert (value - distribution.low) % distribution.step == 0


@given(distribution=scales(), shares=SHARES)
def test_a_larger_share_never_gives_a_smaller_value(
    distribution: FloatDistribution | IntDistribution, shares: list[float]
) -> None:
    values = [from_unit(share, distribution) for share in sorted(shares)]
    assert values == sorted(values)


@given(distribution=scales())
def test_the_shares_zero_and_one_are_the_bounds(
    distribution: FloatDistribution | IntDistribution,
) -> None:
    ends = [from_unit(share, distribution) for share in (0.0, 1.0)]
    rounding = 1e-12 * (distribution.high - distribution.low)
    assert ends == pytest.approx([distribution.low, distribution.high], rel=1e-12, abs=rounding)


@given(low=POSITIVE, factor=st.floats(1.5, 1e6))
def test_half_of_a_logarithmic_scale_is_the_geometric_mean(low: float, factor: float) -> None:
    found = from_unit(0.5, FloatDistribution(low, low * factor, log=True))
    assert found == pytest.approx(low * math.sqrt(factor))


def test_half_of_a_logarithmic_whole_scale_is_the_geometric_mean_of_its_rounding_range() -> None:
    middle = round(math.sqrt(99.5 * 10_000.5))
    assert from_unit(0.5, IntDistribution(100, 10_000, log=True)) == middle


@given(share=st.floats(0, 1), count=st.integers(1, 7))
def test_choices_share_the_unit_interval_evenly(share: float, count: int) -> None:
    found = from_unit(share, CategoricalDistribution(range(count)))
    assert found == min(math.floor(share * count), count - 1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("power", [0, 1, 2, 3, 4, 5])
def test_the_first_sobol_points_hit_every_stratum_once(power: int, seed: int) -> None:
    count = 2**power
    found = points("sobol", count, {"x": FloatDistribution(0, 1)}, seed)
    assert sorted(int(point["x"] * count) for point in found) == list(range(count))


def test_every_dimension_of_the_sobol_points_is_stratified() -> None:
    space: dict[str, BaseDistribution] = {
        "a": FloatDistribution(0, 1),
        "b": FloatDistribution(1e-8, 1.0, log=True),
        "c": CategoricalDistribution(range(16)),
    }
    found = points("sobol", 16, space)
    assert sorted(int(point["a"] * 16) for point in found) == list(range(16))
    assert sorted(int(2 * math.log10(point["b"] / 1e-8)) for point in found) == list(range(16))
    assert sorted(point["c"] for point in found) == list(range(16))


def test_an_unknown_sampler_is_refused_with_the_nearest_one() -> None:
    for check in (lambda: samplers.check_known("sobl"), lambda: make("sobl", 0, 0, SPACE)):
        with pytest.raises(InvalidRequest) as caught:
            check()
        message = only_line(str(caught.value))
        assert "unknown sampler 'sobl'; did you mean 'sobol'?" in message
        assert "tpe, gp, nsga2, random, sobol, grid" in message


@pytest.mark.parametrize(("name", "count"), [("tpe", 40), ("nsga2", 60), ("gp", 22)])
def test_a_model_based_sampler_learns_although_it_is_made_anew_for_each_trial(
    name: str, count: int
) -> None:
    space: dict[str, BaseDistribution] = {
        "x": FloatDistribution(0, 1),
        "y": FloatDistribution(0, 1),
    }
    study = optuna.create_study()
    distances = []
    for number in range(count):
        study.sampler = make(name, 0, number, space)
        trial = study.ask()
        point = suggest(trial, space)
        distances.append(abs(point["x"] - 0.3) + abs(point["y"] - 0.8))
        study.tell(trial, distances[-1])
    first, last = distances[:15], distances[-min(15, count - 15) :]
    assert sum(last) / len(last) < 0.7 * sum(first) / len(first)


@pytest.mark.parametrize("name", ALL)
def test_every_sampler_runs_a_study_of_two_objectives(name: str, tmp_path: Path) -> None:
    spec = toy_spec(sampler=name, trials=20)
    with Ledger(spec, tmp_path, FINGERPRINT) as ledger:
        while (ticket := ledger.ask()) is not None:
            values = ticket.hyperparameters
            assert 1e-6 <= values["learning_rate"] <= 1e-2
            assert 1 <= values["epochs"] <= 10
            assert values["batch_size"] in (64, 128, 256)
            learned = -math.log10(values["learning_rate"])
            ledger.settle(
                ticket,
                toy_outcome(
                    ticket,
                    forget_accuracy=10 * learned,
                    retain_accuracy=90.0 - values["epochs"] - learned,
                ),
            )
        assert ledger.finished
        assert [row["number"] for row in ledger.rows] == list(range(20))
        assert len({row["params_json"] for row in ledger.rows}) > 15
