"""Where forgotten images go, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from trainables.metrics.neighbours import neighbour_gap


def logits(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


def test_by_hand() -> None:
    # Without class 1: (.5, .5) and (.25, .75), in the mean (.375, .625).
    expected = logits([0.2, 0.6, 0.2], [0.1, 0.6, 0.3])
    # (.8, .2) and (1, 0): (.9, .1).
    found = logits([0.4, 0.5, 0.1], [0.7, 0.3, 1e-30])
    assert neighbour_gap(expected, found, [1]) == pytest.approx(0.525, abs=1e-6)


def test_several_forgotten_classes_are_all_left_out() -> None:
    expected = logits([0.2, 0.6, 0.15, 0.05])
    found = logits([0.01, 0.01, 0.5, 0.48])
    # (.8, .2) without 1 and 2, against (1 / 49, 48 / 49).
    assert neighbour_gap(expected, found, [1, 2]) == pytest.approx(0.8 - 1 / 49, abs=1e-6)


def test_it_is_0_for_the_same_model_and_1_for_one_that_goes_elsewhere() -> None:
    one = torch.tensor([[9e3, 0.0, -9e3], [9e3, 5.0, -9e3]])
    other = torch.tensor([[-9e3, 0.0, 9e3], [-9e3, 5.0, 9e3]])
    assert neighbour_gap(one, one, [1]) == 0
    assert neighbour_gap(one, other, [1]) == 1


def test_what_the_forgotten_class_itself_gets_has_no_say() -> None:
    one = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    other = one.clone()
    other[:, 2] -= 1e4
    assert neighbour_gap(one, other, [2]) == 0
