"""Gradient ascent on the forget data."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.methods.negative_gradient import NegativeGradient
from trainables.models import catalogue

IMAGES = torch.randn(20, 1, 2, 2, generator=rng(1))
FORGET = Samples(IMAGES, torch.ones(20, dtype=torch.long))


def linear() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def granted(forget: Samples = FORGET) -> Granted:
    return Granted(frozenset({Access.FORGET}), {Access.FORGET: lambda: forget}, (1,), 3, (1, 8, 8))


def test_the_first_step_follows_the_gradient_of_cross_entropy_upwards() -> None:
    """Adam's first step moves every weight by the rate, along the sign of its gradient."""
    model, before = linear(), linear()
    functional.cross_entropy(before(FORGET.images), FORGET.labels).backward()
    list(NegativeGradient(learning_rate=1e-3, epochs=1).unlearn(model, granted(), rng()))
    for moved, start in zip(model.parameters(), before.parameters(), strict=True):
        assert start.grad is not None
        torch.testing.assert_close(
            moved.detach() - start.detach(), 1e-3 * start.grad.sign(), atol=1e-6, rtol=1e-3
        )


def test_each_epoch_raises_the_cross_entropy_on_the_forget_data() -> None:
    model = linear()
    errors = [functional.cross_entropy(model(FORGET.images), FORGET.labels).item()]
    method = NegativeGradient(learning_rate=1e-2, epochs=4, batch_size=5)
    errors += [
        functional.cross_entropy(ascended(FORGET.images), FORGET.labels).item()
        for ascended in method.unlearn(model, granted(), rng())
    ]
    assert len(errors) == 5, "yielded after each epoch"
    assert all(later > earlier + 0.01 for earlier, later in pairwise(errors))


def test_a_step_is_taken_for_each_batch_in_training_mode() -> None:
    model = catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0).eval()
    forget = Samples(torch.rand(20, 1, 8, 8, generator=rng(1)), FORGET.labels)
    steps = []
    for ascended in NegativeGradient(epochs=2, batch_size=8).unlearn(model, granted(forget), rng()):
        steps.append(batches_tracked(model))
        ascended.eval()
    assert steps == [3, 6]


def test_the_seed_decides() -> None:
    ends = []
    for seed in (1, 1, 2):
        model = linear()
        list(NegativeGradient(batch_size=4).unlearn(model, granted(), rng(seed)))
        ends.append(state(model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def test_a_model_that_runs_away_is_reported_as_diverged() -> None:
    model = linear()
    method = NegativeGradient(learning_rate=3e37, epochs=50)
    with pytest.raises(Diverged):
        list(method.unlearn(model, granted(Samples(IMAGES * 100, FORGET.labels)), rng()))
