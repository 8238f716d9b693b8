"""The membership attack on entropies whose answer is known."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from trainables.attacks.membership import fit_logistic, membership


def normal(mean: float, count: int, seed: int, spread: float = 0.05) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, count)


MEMBERS, NON_MEMBERS = normal(0.2, 400, 1), normal(2.0, 400, 2)


def test_targets_like_members_are_all_called_members() -> None:
    assert membership(MEMBERS, NON_MEMBERS, normal(0.2, 100, 3), seed=0) == 100


def test_targets_like_non_members_are_never_called_members() -> None:
    assert membership(MEMBERS, NON_MEMBERS, normal(2.0, 100, 3), seed=0) == 0


def test_the_attack_learns_which_side_members_are_on() -> None:
    assert membership(NON_MEMBERS, MEMBERS, normal(2.0, 100, 3), seed=0) == 100


def test_a_mixed_forget_set_is_called_members_in_its_share() -> None:
    targets = np.concatenate([normal(0.2, 30, 3), normal(2.0, 90, 4)])
    assert membership(MEMBERS, NON_MEMBERS, targets, seed=0) == pytest.approx(25)


@pytest.mark.parametrize("times", [1, 10])
@pytest.mark.parametrize("seed", range(3))
def test_what_cannot_be_told_apart_is_half_members(times: int, seed: int) -> None:
    """One symmetric distribution: a balanced attack cuts it at its mean, to whichever side.

    An attack that sees ten times as many members as non-members would call all targets members.
    """
    count = 2_000
    members, others = normal(1, 300 * times, 10 + seed), normal(1, 300, 20 + seed)
    found = membership(members, others, normal(1, count, 30 + seed), seed)
    # Four standard errors of the share above a mean that is itself estimated from 600 entropies.
    error = 100 * sqrt(0.25 / count + 1 / (2 * np.pi * 600))
    assert found == pytest.approx(50, abs=4 * error)


def test_ten_times_as_many_members_do_not_move_the_threshold() -> None:
    """Two equal spreads at 0 and 2, one apart: the balanced threshold is at 1, half way."""
    members, others = normal(0, 4_000, 1, spread=1.0), normal(2, 400, 2, spread=1.0)
    targets = np.linspace(-2, 4, 601)
    found = membership(members, others, targets, seed=0)
    assert found == pytest.approx(50, abs=4)


def test_the_seed_decides_the_draws() -> None:
    members, others = normal(1, 40, 1), normal(1.03, 40, 2)
    targets = normal(1, 500, 3)
    found = [membership(members, others, targets, seed) for seed in (0, 1, 2, 3, 0)]
    assert found[0] == found[-1]
    assert len(set(found)) > 1


def test_the_global_random_state_plays_no_part() -> None:
    members, others, targets = normal(1, 40, 1), normal(1.03, 40, 2), normal(1, 100, 3)
    found = set()
    for seed in range(3):
        np.random.seed(seed)
        found.add(membership(members, others, targets, seed=0))
    assert len(found) == 1


@pytest.mark.parametrize(("scale", "shift"), [(1e-9, 0.0), (1e-4, 3.0), (1.0, -5.0), (1e3, 1.0)])
def test_the_unit_of_entropy_does_not_matter(scale: float, shift: float) -> None:
    members, others, targets = normal(0.9, 100, 1), normal(1.0, 100, 2), normal(0.95, 200, 3)
    expected = membership(members, others, targets, seed=0)
    assert 0 < expected < 100
    moved = [scale * (values + shift) for values in (members, others, targets)]
    assert membership(moved[0], moved[1], moved[2], seed=0) == pytest.approx(expected, abs=1)


def test_one_entropy_for_all_is_no_error() -> None:
    same = np.full(20, 0.7)
    assert membership(same, same, same, seed=0) in (0, 100)


@pytest.mark.parametrize("shift", [0.0, 0.05, 1.0, 30.0])
@pytest.mark.parametrize("outlier", [0.0, 300.0])
def test_the_regressions_are_scikit_learn_s(shift: float, outlier: float) -> None:
    """Overlapping, apart, and with a value far off, all of which its default solver handles too."""
    from sklearn.linear_model import LogisticRegression

    labels = np.repeat([1.0, 0.0], 200)
    rows = np.stack([normal(1, 400, seed) + shift * (1 - labels) for seed in range(3)])
    rows[:, 7] += outlier
    slopes, offsets = fit_logistic(rows, labels)
    for row, slope, offset in zip(rows, slopes, offsets, strict=True):
        exact = LogisticRegression(tol=1e-10, max_iter=10_000).fit(row[:, None], labels)
        assert slope == pytest.approx(exact.coef_[0], rel=1e-3, abs=1e-4)
        assert offset == pytest.approx(exact.intercept_, rel=1e-3, abs=1e-4)
