"""Generators that are trained as one computation beside the same ones trained one by one, in double
precision: what is left of differences then is no rounding that training blows up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tests.trainables.toys import rng, state
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.generators import dcgan, kegnet
from trainables.models import catalogue
from trainables.scenario import Inversion

SHAPE = (1, 8, 8)
SEEDS = [4, 5, 6]


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def samples(seed: int, count: int) -> Samples:
    images = torch.rand(count, *SHAPE, generator=rng(seed)) * 2 - 1
    return Samples(images, torch.arange(count) % 3)


def assert_alike(together: list[nn.Module], alone: list[nn.Module]) -> None:
    for one, other in zip(together, alone, strict=True):
        assert not one.training
        for name, tensor in state(other).items():
            torch.testing.assert_close(state(one)[name], tensor, rtol=0, atol=1e-8)


def apart(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of the weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def test_dcgans_of_classes_with_unlike_numbers_of_samples() -> None:
    sets = [samples(0, 40), samples(1, 33), samples(2, 40)]
    alone = [dcgan.train(own, 6, seed) for own, seed in zip(sets, SEEDS, strict=True)]
    together = dcgan.train_together(sets, 6, SEEDS)
    assert_alike(list(together), list(alone))
    assert apart(alone[0], alone[2]) > 1e-2
    assert apart(alone[0], dcgan.train(sets[0], 0, 4)) > 1e-4, "training moved them"


@pytest.mark.parametrize(
    ("recipe", "aided"),
    [
        (Inversion(steps=5, batch_size=20), False),
        (Inversion(steps=5, batch_size=20, output="normalised", diversity_weight=0.0), False),
        (Inversion(steps=5, batch_size=20, bn_weight=1.0, diversity_weight=2.0), True),
    ],
)
def test_inversions_of_one_classifier(recipe: Inversion, aided: bool) -> None:
    classifier = catalogue.build("allcnn", SHAPE, 3, 0.1, 0).eval()
    examples = samples(3, 6) if aided else None
    what = classifier, SHAPE, 3, recipe
    alone = [kegnet.invert(*what, seed, examples) for seed in SEEDS]
    assert_alike(list(kegnet.invert_together(*what, SEEDS, examples)), list(alone))
    assert apart(alone[0], alone[1]) > 1e-2
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_one_that_diverges_ends_all() -> None:
    good, spoilt = samples(0, 8), samples(1, 8)
    spoilt.images.fill_(float("nan"))
    with pytest.raises(Diverged):
        dcgan.train_together([good, spoilt], 2, [0, 1])
