"""Fine-tuning on the retain data."""

from __future__ import annotations

from torch import nn

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.access import Granted
from trainables.data.dataset import Samples
from trainables.methods.finetune import Finetune
from trainables.models import catalogue
from trainables.training.supervised import fit

FINETUNE = Finetune(learning_rate=3e-3, epochs=3, batch_size=16)


def base() -> nn.Module:
    return catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)


def test_it_is_fitting_the_model_on_the_retain_data(
    retain_only: Granted, retain_data: Samples
) -> None:
    tuned, expected = base(), base()
    list(FINETUNE.unlearn(tuned, retain_only, rng(5)))
    list(fit(expected, retain_data, epochs=3, learning_rate=3e-3, batch_size=16, rng=rng(5)))
    assert same(state(tuned), state(expected))
    assert not same(state(tuned), state(base()))


def test_the_model_is_yielded_after_each_epoch(retain_only: Granted) -> None:
    model = base()
    steps = [batches_tracked(model) for _ in FINETUNE.unlearn(model, retain_only, rng(5))]
    assert steps == [3, 6, 9], "forty samples in batches of 16 are three steps an epoch"


def test_the_seed_decides(retain_only: Granted) -> None:
    ends = []
    for seed in (1, 1, 2):
        model = base()
        list(FINETUNE.unlearn(model, retain_only, rng(seed)))
        ends.append(state(model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])
