"""How alike synthetic and real validation rank trials, against numbers by hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pyarrow as pa
import pytest

from search.analysis.agreement import Agreement, agreement
from search.store.results import Row
from tests.search.toys import as_table, toy_row
from trainables.outcome import State


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bootstrap takes a second or two."""
    monkeypatch.setattr("search.analysis.agreement.RESAMPLES", 200)


def trial(number: int, real: float | None, synthetic: float | None, state: str = "complete") -> Row:
    """A row with these gaps, whatever its state."""
    return toy_row(number, state=state) | {"m_gap": real, "m_synthetic_gap": synthetic}


def table(real: Sequence[float | None], synthetic: Sequence[float | None]) -> pa.Table:
    pairs = zip(real, synthetic, strict=True)
    return as_table([trial(number, *pair) for number, pair in enumerate(pairs)])


def found(real: Sequence[float | None], synthetic: Sequence[float | None]) -> Agreement:
    result = agreement(table(real, synthetic))
    assert result is not None
    return result


def figures(result: Agreement) -> tuple[float, float, float]:
    return result.tau, result.low, result.high


def noisy(count: int) -> Agreement:
    """Agreement of gaps that follow each other with much noise."""
    rng = np.random.default_rng(3)
    real = rng.normal(size=count)
    return found(real.tolist(), (real + rng.normal(size=count)).tolist())


def test_the_same_ranks_are_1_however_the_figures_lie() -> None:
    result = found([1.0, 2.0, 30.0, 4.0, 5.0], [0.1, 0.2, 0.9, 0.3, 0.8])
    assert figures(result) == pytest.approx((1, 1, 1))
    assert result.trials == 5


def test_opposite_ranks_are_minus_1() -> None:
    result = found([1.0, 2.0, 3.0, 4.0, 5.0], [50.0, 40.0, 30.0, 2.0, 1.0])
    assert figures(result) == pytest.approx((-1, -1, -1))
    assert result.trials == 5


def test_four_trials_by_hand() -> None:
    # Of six pairs one is ranked the other way.
    result = found([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0])
    assert result.tau == pytest.approx((5 - 1) / 6)
    assert result.trials == 4
    # Of six pairs three are ranked the other way.
    assert found([1.0, 2.0, 3.0, 4.0], [4.0, 1.0, 2.0, 3.0]).tau == pytest.approx(0)


def test_ties_count_as_in_tau_b() -> None:
    # Five pairs in the same order, one tied in the synthetic gap.
    result = found([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 3.0])
    assert result.tau == pytest.approx(5 / sqrt(6 * 5))


def test_it_is_the_gaps_that_are_compared() -> None:
    rows = [
        trial(number, real, synthetic)
        | {
            "m_test_gap": -real,
            "m_synthetic_retain_kl": -synthetic,
            "m_synthetic_forget_accuracy": 50.0 - synthetic,
            "m_synthetic_retain_accuracy": 50.0 + synthetic,
        }
        for number, (real, synthetic) in enumerate([(1.0, 1.0), (2.0, 3.0), (3.0, 4.0)])
    ]
    result = agreement(as_table(rows))
    assert result is not None
    assert result.tau == 1


@pytest.mark.parametrize(
    ("real", "synthetic"),
    [
        ([], []),
        ([1.0], [1.0]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([3.0, 3.0, 3.0, 3.0], [1.0, 2.0, 3.0, 4.0]),
        ([1.0, 2.0, 3.0, 4.0], [50.0, 50.0, 50.0, 50.0]),
        ([1.0, 2.0, None, 4.0], [1.0, 2.0, 3.0, None]),
        ([None, None, None], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [None, None, None]),
    ],
)
def test_too_few_trials_or_trials_alike_have_no_agreement(
    real: list[float | None], synthetic: list[float | None]
) -> None:
    assert agreement(table(real, synthetic)) is None


def test_only_complete_trials_with_both_gaps_count() -> None:
    rows = [trial(number, float(number), float(number)) for number in range(4)]
    # Each of these would turn the order of the ranks.
    rows += [trial(10, -9.0, None), trial(11, None, 99.0)]
    rows += [
        trial(20 + index, -1.0 - index, 99.0 + index, state=str(state))
        for index, state in enumerate(State)
        if state is not State.COMPLETE
    ]
    result = agreement(as_table(rows))
    assert result is not None
    assert figures(result) == pytest.approx((1, 1, 1))
    assert result.trials == 4


def test_the_same_trials_give_the_same_interval_and_another_seed_another() -> None:
    rng = np.random.default_rng(0)
    trials = table(rng.normal(size=17).tolist(), rng.normal(size=17).tolist())
    first, again, other = agreement(trials), agreement(trials), agreement(trials, seed=1)
    assert first == again
    assert first is not None
    assert other is not None
    assert other.tau == first.tau
    assert (other.low, other.high) != (first.low, first.high)


def test_the_interval_contains_the_correlation_and_narrows_with_more_trials() -> None:
    few, many = noisy(12), noisy(120)
    for result in (few, many):
        assert -1 <= result.low < result.tau < result.high <= 1
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert many.low > 0, "a hundred trials show that the two go together"
    # For so many normal pairs of correlation 0.71, tau is 0.5 and its deviation about 0.05.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.05, rel=0.4)


def test_three_trials_are_enough_for_an_interval() -> None:
    result = found([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    assert result.tau == pytest.approx(1 / 3)
    assert (result.low, result.high) == pytest.approx((-1, 1))


def test_it_reads_as_a_sentence() -> None:
    text = str(Agreement(tau=0.666, low=-0.25, high=1.0, trials=4))
    assert text == "tau 0.67 (95% bootstrap interval -0.25 to 1.00, 4 trials)"
