"""Accuracy in percent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics.accuracy import accuracy, class_accuracy

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


def test_class_by_class_by_hand() -> None:
    """Class 1 is right in two of three, class 2 in one of one, class 0 has no samples."""
    logits = LOGITS[[3, 2, 0, 1]]
    assert class_accuracy(logits, torch.tensor([1, 1, 1, 2])) == [
        None,
        pytest.approx(200 / 3),
        100.0,
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_class_accuracies_weighted_by_their_samples_are_the_accuracy(
    pairs: list[tuple[int, int]],
) -> None:
    answers, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    logits = torch.nn.functional.one_hot(answers, 5).float()
    counts = torch.bincount(labels, minlength=5).tolist()
    found = class_accuracy(logits, labels)
    total = sum(value * n for value, n in zip(found, counts, strict=True) if value is not None)
    assert total / len(labels) == pytest.approx(accuracy(logits, labels))
