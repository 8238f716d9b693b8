"""Tug-of-war, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from trainables.metrics.tug_of_war import tug_of_war

RETRAINED = {
    **{"train_forget_accuracy": 0.0, "train_retain_accuracy": 98.0},
    **{"accuracy": 80.0, "test_accuracy": 70.0},
}
MODEL = {
    **{"train_forget_accuracy": 25.0, "train_retain_accuracy": 88.0},
    **{"accuracy": 84.0, "test_accuracy": 20.0},
}


@pytest.mark.parametrize(("prefix", "last"), [("", 0.96), ("test_", 0.5)])
def test_by_hand(prefix: str, last: float) -> None:
    assert tug_of_war(MODEL, RETRAINED, prefix) == pytest.approx(0.75 * 0.9 * last)


def test_it_is_1_for_the_retrained_model_and_0_for_who_lost_everything_somewhere() -> None:
    assert tug_of_war(RETRAINED, RETRAINED) == tug_of_war(RETRAINED, RETRAINED, "test_") == 1
    assert tug_of_war({**RETRAINED, "train_forget_accuracy": 100.0}, RETRAINED) == 0
