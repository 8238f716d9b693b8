"""MuGAN: what it draws, and that its hyperparameters reach impair-repair."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.trainables.toys import CodedClassifier, CodedGenerator, rng
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.generators.sampling import ClassGenerators
from trainables.methods import mugan
from trainables.methods.mugan import MuGAN
from trainables.training.passes import PHASE_ENDS, Plan

CLASSES = 4


def granted(forget: tuple[int, ...]) -> Granted:
    """GANs of four classes, each painting its class' code half of the time."""
    generators = {
        code: CodedGenerator(code, threshold=0.0, otherwise=(code + 1) % CLASSES)
        for code in range(CLASSES)
    }
    gans = ClassGenerators(generators, CodedClassifier(CLASSES))
    return Granted(
        frozenset({Access.GANS}), {Access.GANS: lambda: gans}, forget, CLASSES, (1, 8, 8)
    )


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What MuGAN hands to impair-repair."""
    caught: dict[str, Any] = {}

    def catch(model: nn.Module, forget: Samples, retain: Samples, **settings: Any) -> Plan:
        caught.update(model=model, forget=forget, retain=retain, **settings)
        yield PHASE_ENDS
        yield PHASE_ENDS

    monkeypatch.setattr(mugan, "impair_repair", catch)
    return caught


@pytest.mark.parametrize("forget", [(1,), (0, 3)])
def test_every_class_gives_its_samples_with_its_label(
    handed: dict[str, Any], forget: tuple[int, ...]
) -> None:
    list(MuGAN(samples_per_class=30).unlearn(nn.Identity(), granted(forget), rng()))
    counts = torch.bincount(handed["forget"].labels, minlength=CLASSES).tolist()
    assert counts == [30 if label in forget else 0 for label in range(CLASSES)]
    counts = torch.bincount(handed["retain"].labels, minlength=CLASSES).tolist()
    assert counts == [0 if label in forget else 30 for label in range(CLASSES)]
    for samples in (handed["forget"], handed["retain"]):
        codes = (samples.images[:, 0, 0, 0] * 10).round().long()
        assert torch.equal(codes, samples.labels), "only samples classified as their class"


def test_every_hyperparameter_arrives(handed: dict[str, Any]) -> None:
    model, source = nn.Identity(), rng()
    method = MuGAN(
        learning_rate=0.5,
        samples_per_class=3,
        temperature=2.0,
        forget_batch_size=5,
        retain_batch_size=7,
        direction="model",
        batch_norm="frozen",
        layers=3,
    )
    yielded = list(method.unlearn(model, granted((1,)), source))
    assert handed.pop("forget").images.shape[0] == 3
    assert handed.pop("retain").images.shape[0] == 9
    assert handed == {
        "model": model,
        "learning_rate": 0.5,
        "temperature": 2.0,
        "forget_batch_size": 5,
        "retain_batch_size": 7,
        "direction": "model",
        "batch_norm": "frozen",
        "layers": 3,
        "rng": source,
    }
    assert yielded == [model, model]


def test_the_samples_follow_from_the_random_source(handed: dict[str, Any]) -> None:
    drawn = []
    for seed in (1, 1, 2):
        list(MuGAN(samples_per_class=30).unlearn(nn.Identity(), granted((1,)), rng(seed)))
        drawn.append(handed["forget"].images)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_direction_that_does_not_exist_is_refused_without_make_as_well() -> None:
    with pytest.raises(ValueError, match="direction"):
        MuGAN(direction="both")  # type: ignore[arg-type]
