"""Zero retrain forgetting."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.metrics.zrf import zrf

UP, EVEN = torch.tensor([[log(3), 0.0]]), torch.tensor([[0.0, 0.0]])
# JS((3/4, 1/4), (1/2, 1/2)); the middle of the two is 5/8, 3/8.
JS = (0.75 * log(6 / 5) + 0.25 * log(2 / 3) + 0.5 * log(4 / 5) + 0.5 * log(4 / 3)) / 2
ROWS = st.lists(st.floats(-50, 50), min_size=6, max_size=6).map(
    lambda values: torch.tensor(values).view(2, 3)
)


def test_a_network_that_answers_as_the_random_one_has_1() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [30.0, 3.0, -1.0]])
    assert zrf(logits, logits) == 1


def test_one_that_is_sure_of_what_the_random_one_excludes_has_1_less_ln_2() -> None:
    sure, opposite = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert zrf(sure, opposite) == pytest.approx(1 - log(2))


def test_one_in_between_by_hand_over_two_samples() -> None:
    logits, random = torch.cat([UP, EVEN]), torch.cat([EVEN, EVEN])
    assert zrf(logits, random) == pytest.approx(1 - JS / 2)
    assert zrf(random, logits) == pytest.approx(1 - JS / 2)


def test_published_values_are_of_another_formula() -> None:
    """By hand: KL from the middle, where ours is to it, and a mean over the two classes as well."""
    from_middle = [
        sum(m * log(m / p) for m, p in zip((5 / 8, 3 / 8), chances, strict=True))
        for chances in ((3 / 4, 1 / 4), (1 / 2, 1 / 2))
    ]
    published = 1 - sum(from_middle) / 2 / 2
    assert 1 - published == pytest.approx(0.01742, abs=1e-5)
    assert 1 - zrf(UP, EVEN) == pytest.approx(JS) == pytest.approx(0.03382, abs=1e-5)


@given(ROWS, ROWS)
def test_it_lies_between_1_less_ln_2_and_1(logits: Tensor, random: Tensor) -> None:
    assert 1 - log(2) <= zrf(logits, random) <= 1
