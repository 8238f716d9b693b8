"""Distance of two models in their parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.trainables.toys import rng, same, state
from trainables.metrics.weight_distance import weight_distance
from trainables.models import catalogue


def line(weight: list[float], bias: float) -> nn.Linear:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
        layer.bias.fill_(bias)
    return layer


def small(seed: int) -> nn.Module:
    return catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed)


def test_a_copy_is_at_distance_zero() -> None:
    model = small(0)
    assert weight_distance(model, copy.deepcopy(model)) == (0, 0)


def test_it_is_euclidean_over_all_parameters_and_relative_to_the_reference_by_hand() -> None:
    model, reference = line([4.0, 8.0], 5.0), line([1.0, 4.0], -7.0)
    # Differences 3, 4, 12: their norm is 13. The reference's is sqrt(1 + 16 + 49).
    absolute, relative = weight_distance(model, reference)
    assert absolute == pytest.approx(13)
    assert relative == pytest.approx(13 / 66**0.5)
    absolute, relative = weight_distance(reference, model)
    assert absolute == pytest.approx(13)
    assert relative == pytest.approx(13 / 105**0.5)


def test_parameters_of_several_layers_are_summed_before_the_root() -> None:
    model = nn.Sequential(line([3.0, 0.0], 0.0), line([0.0, 4.0], 0.0))
    reference = nn.Sequential(line([0.0, 0.0], 0.0), line([0.0, 0.0], 10.0))
    # Differences 3 and 4 in weights, 10 in a bias.
    assert weight_distance(model, reference) == pytest.approx((125**0.5, 125**0.5 / 10))


def test_running_statistics_are_no_parameters() -> None:
    model = small(0)
    other = copy.deepcopy(model)
    other(torch.rand(8, 1, 8, 8, generator=rng()))  # in training mode: moves the statistics
    assert not same(state(model), state(other))
    assert weight_distance(model, other) == (0, 0)


def test_neither_model_changes_and_no_gradient_is_kept() -> None:
    one, other = small(0), small(1)
    before = state(one), state(other)
    absolute, relative = weight_distance(one, other)
    assert isinstance(absolute, float)
    assert isinstance(relative, float)
    assert absolute > 0
    assert relative > 0
    assert same(state(one), before[0])
    assert same(state(other), before[1])


def test_models_with_other_numbers_of_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        weight_distance(
            line([1.0, 2.0], 3.0), nn.Sequential(*[line([1.0, 2.0], 3.0)] * 1, small(0))
        )
