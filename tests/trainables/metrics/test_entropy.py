"""Entropy of outputs, in nats."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.metrics.entropy import entropy

ROWS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_uniform_answer_has_the_entropy_ln_k(classes: int) -> None:
    assert entropy(torch.full((1, classes), 3.0)).item() == pytest.approx(log(classes))


def test_a_sure_answer_has_none() -> None:
    assert entropy(torch.tensor([[100.0, 0.0, 0.0]])).item() == pytest.approx(0, abs=1e-30)


def test_three_quarters_against_one_by_hand() -> None:
    expected = 0.75 * log(4 / 3) + 0.25 * log(4)
    rows = torch.tensor([[log(3), 0.0], [0.0, 0.0]])
    assert entropy(rows).tolist() == pytest.approx([expected, log(2)])


@given(ROWS, st.floats(-100, 100))
def test_it_lies_between_0_and_ln_k_and_ignores_a_shift(row: list[float], shift: float) -> None:
    logits = torch.tensor([row], dtype=torch.float64)
    value = entropy(logits).item()
    assert -1e-12 <= value <= log(len(row)) + 1e-12
    assert entropy(logits + shift).item() == pytest.approx(value, abs=1e-9)


def test_the_largest_finite_logits_give_a_number() -> None:
    assert entropy(torch.tensor([[3e38, -3e38], [3e38, 3e38]])).tolist() == pytest.approx(
        [0.0, log(2)]
    )


def test_tiny_entropies_are_told_apart() -> None:
    # Those of a well trained model; in float32 both would be zero beside 1.
    less, more = entropy(torch.tensor([[50.0, 0.0], [40.0, 0.0]])).tolist()
    assert 0 < less < more / 1e3
