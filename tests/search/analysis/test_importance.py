"""Importance of hyperparameters against functions whose shares are known."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.analysis.evaluators import EVALUATORS
from search.analysis.importance import LEAST_TRIALS, Importance, importance
from search.definition.samplers import from_unit
from search.definition.space import SearchSpace
from search.store.results import Row
from tests.search.toys import as_table, only_line, toy_row
from trainables.errors import InvalidRequest
from trainables.outcome import State

UNIT = FloatDistribution(0.0, 1.0)
SQUARE = {"a": UNIT, "b": UNIT}
FOUR = dict.fromkeys(("d", "b", "c", "a"), UNIT)

Point = Mapping[str, Any]


@pytest.fixture(autouse=True)
def smaller_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forests take most of the time, and the functions here are simple."""
    monkeypatch.setattr("search.analysis.importance.TREES", 16)
    monkeypatch.setattr("search.analysis.importance.DRAWN_TREES", 4)


def trial(number: int, point: Point, state: str = "complete", **metrics: float | None) -> Row:
    """A row with these hyperparameters and metrics, whatever its state."""
    row = toy_row(number, state=state, params_json=json.dumps(point), objective="gap")
    return row | {f"m_{name}": value for name, value in metrics.items()}


def drawn(
    distributions: Mapping[str, BaseDistribution], count: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Points of a search space, uniform on its scales."""
    rng = np.random.default_rng(seed)
    return [
        {name: from_unit(rng.uniform(), kind) for name, kind in distributions.items()}
        for _ in range(count)
    ]


def table(points: Sequence[Point], gap: Callable[[Point], float]) -> pa.Table:
    return as_table([trial(n, point, gap=gap(point)) for n, point in enumerate(points)])


def shares(result: Sequence[Importance]) -> dict[str, float]:
    return {item.name: item.share for item in result}


def noisy(count: int) -> pa.Table:
    """Trials of 2 a + b and as much noise as b makes."""
    rng = np.random.default_rng(7)
    return table(drawn(SQUARE, count), lambda p: 2 * p["a"] + p["b"] + rng.normal() / 12**0.5)


# Known answers


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("only", ["a", "d"])
def test_what_alone_matters_has_almost_everything(evaluator: str, only: str) -> None:
    trials = table(drawn(FOUR, 150), lambda p: 3 * p[only])
    first, *others = importance(trials, FOUR, evaluator=evaluator, resamples=0)
    assert first.name == only
    assert first.share > (0.9 if evaluator == "ped-anova" else 0.97)
    assert sorted(item.name for item in others) == sorted(FOUR.keys() - {only})


@pytest.mark.parametrize("evaluator", ["fanova", "mdi"])
def test_a_sum_is_shared_by_variance(evaluator: str) -> None:
    # 2 a has four times the variance of b.
    trials = table(drawn(SQUARE, 250), lambda p: 2 * p["a"] + p["b"])
    found = shares(importance(trials, SQUARE, evaluator=evaluator, resamples=0))
    assert found == pytest.approx({"a": 0.8, "b": 0.2}, abs=0.06)


@pytest.mark.parametrize(
    "rate",
    [FloatDistribution(1e-6, 1e-1, log=True), IntDistribution(1, 1_000_000, log=True)],
    ids=["float", "int"],
)
def test_a_logarithmic_hyperparameter_counts_on_its_own_scale(rate: FloatDistribution) -> None:
    space = {"rate": rate, "b": UNIT}
    span = np.log(rate.high / rate.low)
    trials = table(drawn(space, 250), lambda p: 2 * np.log(p["rate"] / rate.low) / span + p["b"])
    found = shares(importance(trials, space, resamples=0))
    # Weighed by length, nine tenths of it between 1e-2 and 1e-1, the rate would have 0.3.
    assert found == pytest.approx({"rate": 0.8, "b": 0.2}, abs=0.06)


@pytest.mark.parametrize("evaluator", ["fanova", "mdi"])
@pytest.mark.parametrize("choices", [("low", "middle", "high"), (8, 512, 64), (0.5, True, "two")])
def test_choices_and_whole_numbers_are_shared_by_variance(
    evaluator: str, choices: tuple[Any, ...]
) -> None:
    space = {"choice": CategoricalDistribution(choices), "whole": IntDistribution(1, 3)}
    points = [dict(zip(space, pair, strict=True)) for pair in product(choices, (1, 2, 3))] * 8
    trials = table(points, lambda p: 2 * choices.index(p["choice"]) + p["whole"])
    found = shares(importance(trials, space, evaluator=evaluator, resamples=0))
    # 0, 2, 4 have four times the variance of 1, 2, 3, and every pair is there.
    assert found == pytest.approx({"choice": 0.8, "whole": 0.2}, abs=0.02)


def test_steps_count_each_as_much_as_another() -> None:
    # The middle one of three values matters as much as one of the ends.
    space = {
        "middle": FloatDistribution(0.0, 1.0, step=0.5),
        "end": IntDistribution(10, 50, step=20),
    }
    points = [dict(zip(space, pair, strict=True)) for pair in product((0, 0.5, 1), (10, 30, 50))]
    trials = table(points * 8, lambda p: float(p["middle"] == 0.5) + float(p["end"] == 50))
    found = shares(importance(trials, space, resamples=0))
    assert found == pytest.approx({"middle": 0.5, "end": 0.5}, abs=0.02)


def test_the_space_of_a_method_is_understood() -> None:
    space = SearchSpace("mugan", {"temperature": 2.0, "samples_per_class": [100, 1000]})
    points = [{**point, "temperature": 2.0} for point in drawn(space.distributions, 60)]
    trials = table(points, lambda p: np.log(p["learning_rate"]))
    first, *others = importance(trials, space.distributions, resamples=0)
    assert first.name == "learning_rate"
    assert first.share > 0.9
    assert sorted(item.name for item in others) == [
        *("batch_norm", "forget_batch_size", "retain_batch_size", "samples_per_class")
    ]


def test_the_most_important_comes_first_and_all_add_up_to_1() -> None:
    trials = table(drawn(FOUR, 100), lambda p: p["b"] + 3 * p["c"] + 2 * p["a"])
    for evaluator in EVALUATORS:
        result = importance(trials, FOUR, evaluator=evaluator, resamples=2)
        found = [item.share for item in result]
        assert found == sorted(found, reverse=True)
        assert sum(found) == pytest.approx(1)
        assert {item.trials for item in result} == {100}
        if evaluator != "ped-anova":
            assert [item.name for item in result] == ["c", "a", "b", "d"]


# Intervals


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("resamples", [1, 12])
def test_an_interval_contains_its_share(evaluator: str, resamples: int) -> None:
    trials = table(drawn(FOUR, 40), lambda p: p["a"])
    for item in importance(trials, FOUR, evaluator=evaluator, resamples=resamples):
        assert 0 <= item.low <= item.share <= item.high <= 1
        assert item.low < item.high


def test_an_interval_narrows_with_more_trials() -> None:
    few, many = (
        next(item for item in importance(noisy(count), SQUARE, resamples=40) if item.name == "a")
        for count in (20, 200)
    )
    assert many.high - many.low < 0.6 * (few.high - few.low)
    assert many.low > 0.5, "two hundred trials show that a matters most"


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(evaluator: str) -> None:
    first, again, other = (
        importance(noisy(30), SQUARE, evaluator=evaluator, resamples=6, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert [item.low for item in other] != [item.low for item in first]


def test_draws_of_trials_alike_have_no_say() -> None:
    # A third of the draws lack the one trial that differs.
    points = drawn(SQUARE, LEAST_TRIALS)
    trials = table(points, lambda p: float(p is points[0]))
    for evaluator in ("fanova", "mdi"):
        result = importance(trials, SQUARE, evaluator=evaluator, resamples=12)
        assert all(0 <= item.low <= item.share <= item.high <= 1 for item in result)


# What counts


@pytest.mark.parametrize(
    ("target", "expected"), [("gap", "a"), ("forget_accuracy", "b"), ("retain_accuracy", "c")]
)
@pytest.mark.parametrize("objective", ["pareto", "gap", "synthetic", None])
def test_it_is_the_figure_that_steered_the_study(
    objective: str | None, target: str, expected: str
) -> None:
    steered, other = "", "synthetic_"
    if objective == "synthetic":
        steered, other = other, steered
    rows = []
    for number, point in enumerate(drawn(FOUR, 60)):
        a, b, c, d = (point[name] for name in "abcd")
        metrics = {"gap": a, "forget_accuracy": b, "retain_accuracy": c}
        rows.append(
            trial(
                number,
                point,
                **{f"{steered}{name}": value for name, value in metrics.items()},
                **{f"{other}{name}": d for name in metrics},
                **{f"test_{name}": d for name in metrics},
            )
            | {"objective": objective}
        )
    first, *_ = importance(as_table(rows), FOUR, target, resamples=0)
    assert first.name == expected
    assert first.share > 0.9


@pytest.mark.parametrize(
    ("target", "expected"), [("retain_accuracy", "a"), ("gap", "b"), ("forget_accuracy", "b")]
)
def test_the_best_tenth_is_that_of_high_retain_and_low_other_figures(
    target: str, expected: str
) -> None:
    rows = [
        trial(number, point, **{target: 10.0 * (point["a"] > 0.8) - 10.0 * (point["b"] > 0.8)})
        for number, point in enumerate(drawn(SQUARE, 200))
    ]
    first, _ = importance(as_table(rows), SQUARE, target, "ped-anova", resamples=0)
    assert first.name == expected


def test_only_complete_trials_of_this_space_with_the_figure_count() -> None:
    space = {
        "rate": FloatDistribution(1e-3, 1.0, log=True),
        "size": CategoricalDistribution([1, 2]),
    }
    points = [{**point, "fixed": 3} for point in drawn(space, 30)]
    rows = [trial(n, point, gap=np.log(point["rate"])) for n, point in enumerate(points)]
    others: list[tuple[Point, float | None]] = [
        ({"rate": 0.5}, 99.0),
        ({"size": 1}, 99.0),
        ({}, 99.0),
        ({"rate": 0.5, "size": 3}, 99.0),
        ({"rate": 0.5, "size": "1"}, 99.0),
        ({"rate": 1e-4, "size": 1}, 99.0),
        ({"rate": -1, "size": 1}, 99.0),
        ({"rate": "high", "size": 1}, 99.0),
        ({"rate": None, "size": 1}, 99.0),
        ({"rate": 0.5, "size": 1}, None),
        ({"rate": 0.5, "size": 1}, float("nan")),
        ({"rate": 0.5, "size": 1}, float("inf")),
    ]
    strangers = [trial(100 + n, point, gap=gap) for n, (point, gap) in enumerate(others)]
    failed = [
        trial(200 + n, points[n], str(state), gap=99.0 + n)
        for n, state in enumerate(State)
        if state is not State.COMPLETE
    ]
    expected = importance(as_table(rows), space, resamples=2)
    assert importance(as_table([*rows, *strangers, *failed]), space, resamples=2) == expected
    assert {item.trials for item in expected} == {30}


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_hyperparameter_of_one_value_has_no_share(evaluator: str) -> None:
    space = {**SQUARE, "c": FloatDistribution(2.0, 2.0), "d": CategoricalDistribution(["x", "y"])}
    points = [{**point, "d": "y"} for point in drawn(space, 40)]
    result = importance(table(points, lambda p: p["b"]), space, evaluator=evaluator, resamples=3)
    assert result[0].name == "b"
    assert [(item.name, item.share, item.low, item.high) for item in result[2:]] == [
        ("c", 0, 0, 0),
        ("d", 0, 0, 0),
    ]


@pytest.fixture
def talkative(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What Optuna says, which it does as where nobody has told it to be silent."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    optuna.logging.enable_propagation()
    yield caplog
    optuna.logging.disable_propagation()
    optuna.logging.set_verbosity(verbosity)


def test_optuna_is_not_heard_and_left_as_it_was(talkative: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for evaluator in EVALUATORS:
            importance(noisy(LEAST_TRIALS), SQUARE, evaluator=evaluator, resamples=2)
    assert talkative.messages == []
    optuna.create_study()
    assert len(talkative.messages) == 1


def test_it_reads_as_a_sentence() -> None:
    text = str(Importance("epochs", share=0.666, low=0.25, high=1.0, trials=40))
    assert text == "epochs 0.67 (95% bootstrap interval 0.25 to 1.00, 40 trials)"


# Where importance is not defined


def refusal(trials: pa.Table, *arguments: Any, **values: Any) -> str:
    """The one line that says why there is no importance."""
    with pytest.raises(InvalidRequest) as caught:
        importance(trials, *arguments, **values)
    return only_line(str(caught.value))


def test_an_unknown_evaluator_is_refused_with_those_that_exist() -> None:
    text = refusal(noisy(LEAST_TRIALS), SQUARE, evaluator="fanvoa")
    assert text == (
        "unknown evaluator 'fanvoa'; did you mean 'fanova'? (possible: fanova, mdi, ped-anova)"
    )


@pytest.mark.parametrize("target", ["gaps", "mia", "m_gap"])
def test_an_unknown_target_is_refused_with_those_that_exist(target: str) -> None:
    text = refusal(noisy(LEAST_TRIALS), SQUARE, target)
    assert f"unknown target '{target}'" in text
    assert "(possible: forget_accuracy, retain_accuracy, gap)" in text


@pytest.mark.parametrize("count", [0, 1, LEAST_TRIALS - 1])
def test_too_few_trials_are_refused_with_how_many_are_needed(count: int) -> None:
    assert refusal(noisy(count), SQUARE) == (
        f"importance needs 10 complete trials of this search space with its gap; there are {count}"
    )
    assert len(importance(noisy(LEAST_TRIALS), SQUARE, resamples=0)) == 2


def test_trials_that_do_not_count_are_too_few() -> None:
    text = refusal(noisy(50), {"a": FloatDistribution(2.0, 3.0)})
    assert text.endswith("there are 0")


@pytest.mark.parametrize("space", [{}, {"a": UNIT}, {"a": FloatDistribution(0.5, 0.5)}])
def test_trials_alike_in_every_hyperparameter_are_refused(
    space: Mapping[str, BaseDistribution],
) -> None:
    rows = [trial(number, {"a": 0.5}, gap=float(number)) for number in range(12)]
    assert refusal(as_table(rows), space) == (
        "no hyperparameter varies among the 12 complete trials, so none has importance"
    )


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_trials_alike_in_the_target_are_refused(evaluator: str) -> None:
    trials = table(drawn(SQUARE, 12), lambda _: 2.5)
    assert refusal(trials, SQUARE, evaluator=evaluator) == (
        "gap is 2.5 in all 12 complete trials, so no hyperparameter is important for it"
    )


def test_no_best_tenth_to_set_apart_is_refused_with_the_other_evaluators() -> None:
    # Not even a tenth is better than the worst.
    points = drawn(SQUARE, 30)
    trials = table(points, lambda p: 0.0 if p is points[3] else 100.0)
    assert refusal(trials, SQUARE, evaluator="ped-anova") == (
        "ped-anova finds no difference in gap among the 30 complete trials (possible: fanova, mdi)"
    )
    assert importance(trials, SQUARE, resamples=0)
