"""The mean distance to the retrained model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics.gap import distances, gap

UNLEARNED = {
    "forget_accuracy": 10.0,
    "retain_accuracy": 90.0,
    "mia": 50.0,
    "test_forget_accuracy": 3.0,
    "test_retain_accuracy": 70.0,
    "test_mia": 0.0,
}
RETRAINED = {
    "forget_accuracy": 0.0,
    "retain_accuracy": 80.0,
    "mia": 57.0,
    "test_forget_accuracy": 0.0,
    "test_retain_accuracy": 100.0,
    "test_mia": 12.0,
}
FIGURES = st.fixed_dictionaries({name: st.floats(0, 100) for name in UNLEARNED})


def test_three_distances_by_hand() -> None:
    assert gap(UNLEARNED, RETRAINED) == pytest.approx((10 + 10 + 7) / 3)


def test_the_prefix_chooses_the_test_figures() -> None:
    assert gap(UNLEARNED, RETRAINED, "test_") == pytest.approx((3 + 30 + 12) / 3)


@given(FIGURES)
def test_a_perfect_copy_has_zero_gap(metrics: dict[str, float]) -> None:
    assert gap(metrics, dict(metrics)) == 0
    assert gap(metrics, dict(metrics), "test_") == 0


@given(FIGURES, FIGURES)
def test_it_is_a_distance_of_at_most_a_hundred_points(
    one: dict[str, float], other: dict[str, float]
) -> None:
    assert 0 <= gap(one, other) <= 100
    assert gap(one, other) == gap(other, one)


@given(FIGURES, FIGURES)
def test_test_figures_never_enter_the_gap_of_the_search(
    one: dict[str, float], other: dict[str, float]
) -> None:
    swapped = {name: (other if name.startswith("test_") else one)[name] for name in one}
    assert gap(swapped, RETRAINED) == gap(one, RETRAINED)


def test_all_distances_of_a_split_by_hand() -> None:
    accuracies = {"train_forget_accuracy": 10.0, "train_retain_accuracy": 90.0, "accuracy": 80.0}
    metrics = {**UNLEARNED, **accuracies, "probe": 95.0}
    retrained = {**RETRAINED, **dict.fromkeys(accuracies, 60.0), "probe": 82.0}
    assert distances(metrics, retrained) == pytest.approx(
        {
            "gap": 27 / 3,
            "probe_distance": 13.0,
            "probe_gap": (27 + 13) / 4,
            "tow": 0.5 * 0.7 * 0.8,
        }
    )
    without = {name: value for name, value in metrics.items() if name != "probe"}
    assert set(distances(without, retrained)) == {"gap", "tow"}
