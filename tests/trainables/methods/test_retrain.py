"""Retraining from scratch on the retain data."""

from __future__ import annotations

import torch
from torch import nn

from tests.trainables.toys import rng, same, state
from trainables.access import Granted
from trainables.data.dataset import Samples
from trainables.methods.retrain import Retrain
from trainables.models import catalogue
from trainables.training.supervised import fit

RETRAIN = Retrain(learning_rate=3e-3, epochs=3, batch_size=16)


def fresh(seed: int) -> nn.Module:
    return catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed)


def test_it_is_fitting_a_fresh_model_on_the_retain_data(
    retain_only: Granted, retain_data: Samples
) -> None:
    retrained, expected = fresh(0), fresh(5)
    yielded = list(RETRAIN.unlearn(retrained, retain_only, rng(5)))
    list(fit(expected, retain_data, epochs=3, learning_rate=3e-3, batch_size=16, rng=rng(5)))
    assert [model is retrained for model in yielded] == [True] * 3
    assert same(state(retrained), state(expected))


def test_nothing_of_the_base_model_survives(retain_only: Granted) -> None:
    ends = []
    for seed in (1, 2):
        base = fresh(seed)
        base(torch.rand(8, 1, 8, 8))  # moves the running statistics
        list(RETRAIN.unlearn(base, retain_only, rng(5)))
        ends.append(state(base))
    assert same(ends[0], ends[1])


def test_the_seed_decides(retain_only: Granted) -> None:
    ends = []
    for seed in (1, 1, 2):
        model = fresh(0)
        list(RETRAIN.unlearn(model, retain_only, rng(seed)))
        ends.append(state(model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])
