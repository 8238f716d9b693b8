"""Accuracy in percent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics.accuracy import accuracy

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, -1.0, 3.0], [-5.0, -4.0, -6.0], [1.0, 9.0, 0.0]])
"""Answers 0, 2, 1 and 1."""


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 2, 1, 1], 100.0), ([1, 0, 0, 2], 0.0), ([0, 2, 1, 0], 75.0), ([0, 0, 0, 0], 25.0)],
)
def test_four_answers_by_hand(labels: list[int], expected: float) -> None:
    assert accuracy(LOGITS, torch.tensor(labels)) == expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 4))
def test_one_constant_answer_is_right_as_often_as_its_class_comes(
    labels: list[int], answer: int
) -> None:
    logits = torch.zeros(len(labels), 5)
    logits[:, answer] = 1
    expected = 100 * labels.count(answer) / len(labels)
    assert accuracy(logits, torch.tensor(labels)) == pytest.approx(expected)
