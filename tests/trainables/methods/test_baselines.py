"""The baselines: the base model as it is, fine-tuning and retraining on the retain data."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.trainables.toys import rng, same, state
from trainables import models
from trainables.access import Access, Granted
from trainables.data import Samples
from trainables.methods.finetune import Finetune
from trainables.methods.original import Original
from trainables.methods.retrain import Retrain
from trainables.training import fit

SETTINGS = {"learning_rate": 3e-3, "epochs": 3, "batch_size": 16}


@pytest.fixture
def retain() -> Samples:
    """Forty images of classes 0 and 2."""
    images = torch.rand(40, 1, 8, 8, generator=rng(1)) * 2 - 1
    return Samples(images, torch.arange(40) % 2 * 2)


@pytest.fixture
def access(retain: Samples) -> Granted:
    """The retain data and nothing else."""
    return Granted(frozenset({Access.RETAIN}), {Access.RETAIN: lambda: retain}, (1,), 3)


def model(seed: int = 0) -> nn.Module:
    return models.build("allcnn", (1, 8, 8), 3, 0.05, seed)


def test_the_original_is_yielded_untouched_without_any_access() -> None:
    base = model()
    (yielded,) = Original().unlearn(base, Granted(frozenset(), {}, (1,), 3), rng())
    assert yielded is base
    assert same(state(base), state(model()))


def test_finetuning_is_fitting_the_model_on_the_retain_data(
    access: Granted, retain: Samples
) -> None:
    tuned, expected = model(), model()
    yielded = list(Finetune(**SETTINGS).unlearn(tuned, access, rng(5)))  # type: ignore[arg-type]
    list(fit(expected, retain, rng=rng(5), **SETTINGS))  # type: ignore[arg-type]
    assert len(yielded) == 3
    assert yielded[-1] is tuned
    assert same(state(tuned), state(expected))
    assert not same(state(tuned), state(model()))


def test_retraining_is_fitting_a_fresh_model_on_the_retain_data(
    access: Granted, retain: Samples
) -> None:
    retrained, expected = model(), model(seed=5)
    method = Retrain(**SETTINGS)  # type: ignore[arg-type]
    yielded = list(method.unlearn(retrained, access, rng(5)))
    list(fit(expected, retain, rng=rng(5), **SETTINGS))  # type: ignore[arg-type]
    assert len(yielded) == 3
    assert same(state(retrained), state(expected))


def test_nothing_of_the_base_model_survives_retraining(access: Granted) -> None:
    ends = []
    for start in (1, 2):
        base = model(seed=start)
        base(torch.rand(8, 1, 8, 8))  # other running statistics
        list(Retrain(**SETTINGS).unlearn(base, access, rng(5)))  # type: ignore[arg-type]
        ends.append(state(base))
    assert same(ends[0], ends[1])


@pytest.mark.parametrize("method", [Retrain(**SETTINGS), Finetune(**SETTINGS)])  # type: ignore[arg-type]
def test_the_seed_decides(method: Retrain | Finetune, access: Granted) -> None:
    ends = []
    for seed in (1, 1, 2):
        base = model()
        list(method.unlearn(base, access, rng(seed)))
        ends.append(state(base))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])
