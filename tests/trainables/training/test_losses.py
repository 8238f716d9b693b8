"""The losses against numbers worked out by hand and closed forms."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.training.losses import distillation

TEACHER = torch.tensor([[log(3), 0.0]])  # softmax: 3/4, 1/4
STUDENT = torch.tensor([[0.0, 0.0]])  # softmax: 1/2, 1/2
FORWARD = 0.75 * log(3 / 2) + 0.25 * log(1 / 2)  # KL((3/4, 1/4) || (1/2, 1/2)) = 0.1308
BACKWARD = 0.5 * log(2 / 3) + 0.5 * log(2)  # KL((1/2, 1/2) || (3/4, 1/4)) = 0.1438


def logits(rows: int, classes: int) -> st.SearchStrategy[Tensor]:
    number = st.floats(-8, 8)
    flat = st.lists(number, min_size=rows * classes, max_size=rows * classes)
    return flat.map(lambda values: torch.tensor(values, dtype=torch.float64).view(rows, classes))


def test_two_classes_by_hand() -> None:
    assert distillation(STUDENT, TEACHER).item() == pytest.approx(FORWARD, abs=1e-6)
    assert pytest.approx(0.1308, abs=1e-4) == FORWARD


def test_the_expectation_is_over_the_teacher() -> None:
    assert distillation(student=TEACHER, teacher=STUDENT).item() == pytest.approx(BACKWARD)
    assert BACKWARD - FORWARD > 0.01


def test_the_temperature_softens_both_and_its_square_scales() -> None:
    # At t = 2 the doubled logits soften to the distributions above; t squared is 4.
    assert distillation(STUDENT, 2 * TEACHER, 2.0).item() == pytest.approx(4 * FORWARD, abs=1e-6)
    assert distillation(2 * TEACHER, STUDENT, 2.0).item() == pytest.approx(4 * BACKWARD, abs=1e-6)


def test_equal_distributions_are_at_distance_zero() -> None:
    some = torch.tensor([[1.0, -2.0, 0.5], [3.0, 3.0, -1.0]])
    assert distillation(some, some, 4.0).item() == pytest.approx(0.0, abs=1e-6)
    assert distillation(some + 7, some, 4.0).item() == pytest.approx(0.0, abs=1e-5)


def test_the_mean_is_over_the_batch() -> None:
    students = torch.cat([STUDENT, STUDENT, STUDENT])
    teachers = torch.cat([TEACHER, STUDENT, TEACHER])  # the row in the middle agrees
    assert distillation(students, teachers).item() == pytest.approx(2 / 3 * FORWARD, abs=1e-6)


def test_the_mean_is_not_over_the_classes_as_well() -> None:
    # Eight more classes that neither distribution gives any weight change nothing.
    never = torch.full((1, 8), -1e4)
    wide = distillation(torch.cat([STUDENT, never], 1), torch.cat([TEACHER, never], 1))
    assert wide.item() == pytest.approx(FORWARD, abs=1e-6)


@given(logits(3, 4), logits(3, 4), st.floats(0.5, 8))
def test_it_is_never_negative(student: Tensor, teacher: Tensor, temperature: float) -> None:
    assert distillation(student, teacher, temperature).item() >= -1e-9


@given(logits(2, 3), logits(2, 3), st.floats(0.5, 8))
def test_its_gradient_is_t_times_the_difference_of_probabilities(
    student: Tensor, teacher: Tensor, temperature: float
) -> None:
    student.requires_grad_()
    distillation(student, teacher, temperature).backward()
    difference = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    torch.testing.assert_close(student.grad, temperature * difference.detach() / 2)


def test_extreme_logits_stay_finite() -> None:
    sure, opposite = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert distillation(opposite, sure).item() == pytest.approx(1e4)
