"""KL and JS divergence of outputs against numbers by hand and their bounds."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.metrics.divergence import js_divergence, kl_divergence

UP = torch.tensor([[log(3), 0.0]])  # softmax: 3/4, 1/4
EVEN = torch.tensor([[0.0, 0.0]])  # 1/2, 1/2
UP_EVEN = 0.75 * log(3 / 2) + 0.25 * log(1 / 2)  # 0.1308
EVEN_UP = 0.5 * log(2 / 3) + 0.5 * log(2)  # 0.1438
# The middle of the two is 5/8, 3/8.
JS = (0.75 * log(6 / 5) + 0.25 * log(2 / 3) + 0.5 * log(4 / 5) + 0.5 * log(4 / 3)) / 2


def logits(rows: int, classes: int) -> st.SearchStrategy[Tensor]:
    flat = st.lists(st.floats(-30, 30), min_size=rows * classes, max_size=rows * classes)
    return flat.map(lambda values: torch.tensor(values).view(rows, classes))


@pytest.mark.parametrize("divergence", [kl_divergence, js_divergence])
def test_equal_logits_are_at_distance_zero(divergence: object) -> None:
    some = torch.tensor([[1.0, -2.0, 0.5], [300.0, 3.0, -100.0]])
    assert callable(divergence)
    assert divergence(some, some) == pytest.approx(0, abs=1e-15)
    assert divergence(some, some + 8) == pytest.approx(0, abs=1e-6), "a shift is no difference"


def test_kl_by_hand_and_over_the_reference() -> None:
    assert kl_divergence(UP, EVEN) == pytest.approx(UP_EVEN)
    assert kl_divergence(EVEN, UP) == pytest.approx(EVEN_UP)
    assert kl_divergence(reference=UP, other=EVEN) == pytest.approx(UP_EVEN)
    assert EVEN_UP - UP_EVEN > 0.01, "it is not symmetric"


def test_js_by_hand_both_ways() -> None:
    assert js_divergence(UP, EVEN) == pytest.approx(JS)
    assert js_divergence(EVEN, UP) == pytest.approx(JS)
    assert pytest.approx(0.0338, abs=1e-4) == JS


def test_both_are_means_over_samples_and_not_over_classes() -> None:
    never = torch.full((3, 8), -1e4)  # classes that nobody gives any weight
    one = torch.cat([torch.cat([UP, EVEN, UP]), never], 1)
    other = torch.cat([torch.cat([EVEN, EVEN, EVEN]), never], 1)
    assert kl_divergence(one, other) == pytest.approx(2 / 3 * UP_EVEN)
    assert js_divergence(one, other) == pytest.approx(2 / 3 * JS)


def test_opposite_sure_answers_are_ln_2_apart_in_js_and_without_bound_in_kl() -> None:
    sure, opposite = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert js_divergence(sure, opposite) == pytest.approx(log(2))
    assert kl_divergence(sure, opposite) == pytest.approx(1e4)


def test_the_largest_finite_logits_give_a_number() -> None:
    sure, opposite = torch.tensor([[3e38, -3e38]]), torch.tensor([[-3e38, 3e38]])
    assert js_divergence(sure, opposite) == pytest.approx(log(2))
    assert js_divergence(sure, sure) == 0
    assert kl_divergence(sure, opposite) == pytest.approx(6e38, rel=1e-6)


def test_tiny_differences_are_told_apart_from_none() -> None:
    """In float32 both would be lost in rounding."""
    near = torch.tensor([[1e-4, 0.0]])
    assert kl_divergence(near, EVEN) == pytest.approx(1e-8 / 8, rel=1e-3)
    assert js_divergence(near, EVEN) == pytest.approx(1e-8 / 32, rel=1e-3)


@given(logits(3, 4), logits(3, 4))
def test_neither_is_negative_and_js_is_symmetric_and_at_most_ln_2(
    one: Tensor, other: Tensor
) -> None:
    assert kl_divergence(one, other) >= 0
    there, back = js_divergence(one, other), js_divergence(other, one)
    assert 0 <= there <= log(2)
    assert there == pytest.approx(back, abs=1e-12)
    assert there <= (kl_divergence(one, other) + kl_divergence(other, one)) / 4 + 1e-9
