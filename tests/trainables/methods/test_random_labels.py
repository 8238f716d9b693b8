"""Random labels: which labels are drawn, and what is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainables.toys import batches_tracked, rng
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.methods import random_labels
from trainables.methods.random_labels import RandomLabels, other_labels
from trainables.models import catalogue


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_no_sample_keeps_its_label_and_every_label_is_a_class(classes: int) -> None:
    labels = torch.arange(classes).repeat(200)
    drawn = other_labels(labels, classes, rng())
    assert drawn.shape == labels.shape
    assert drawn.dtype == torch.int64
    assert not bool((drawn == labels).any())
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < classes


@pytest.mark.parametrize("own", range(5))
def test_the_other_classes_are_equally_likely(own: int) -> None:
    count = 8_000
    drawn = other_labels(torch.full((count,), own), 5, rng(own))
    counts = torch.bincount(drawn, minlength=5).double()
    expected = count / 4
    others = counts[torch.arange(5) != own]
    chi_square = float(((others - expected) ** 2 / expected).sum())
    assert counts[own] == 0
    assert chi_square < 16.3, "three degrees of freedom: 16.3 is exceeded once in a thousand"


def test_the_draws_follow_from_the_random_source() -> None:
    labels = torch.zeros(100, dtype=torch.long)
    first, again, other = (other_labels(labels, 10, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_repair_asks_for_the_retain_data() -> None:
    assert RandomLabels().needs == RandomLabels(repair=False).needs == {Access.FORGET}
    assert RandomLabels(repair=True).needs == {Access.FORGET, Access.RETAIN}


FORGET = Samples(torch.arange(-300.0, 0.0).view(-1, 1, 1, 1), torch.tensor([1, 3]).repeat(150))
RETAIN = Samples(torch.arange(1.0, 41.0).view(-1, 1, 1, 1), torch.arange(40) % 2 * 2)


def granted(method: RandomLabels) -> Granted:
    sources = {Access.FORGET: lambda: FORGET, Access.RETAIN: lambda: RETAIN}
    return Granted(method.needs, sources, (1, 3), 4, (1, 8, 8))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is handed to `fit`."""
    caught: list[dict[str, Any]] = []

    def fit(model: nn.Module, samples: Samples, **settings: Any) -> Iterator[float]:
        caught.append({"model": model, "samples": samples, **settings})
        for _ in range(settings["epochs"]):
            yield 0.0

    monkeypatch.setattr(random_labels, "fit", fit)
    return caught


@pytest.mark.parametrize("repair", [False, True])
def test_the_forget_samples_are_relabelled_once_and_the_retain_samples_never(
    fitted: list[dict[str, Any]], repair: bool
) -> None:
    learnt: dict[str, Any] = {"batch_norm": "frozen", "layers": 2}
    method = RandomLabels(learning_rate=0.5, epochs=4, batch_size=7, repair=repair, **learnt)
    model, source = nn.Identity(), rng()
    yielded = list(method.unlearn(model, granted(method), source))
    assert yielded == [model] * 4, "after each epoch"
    (call,) = fitted
    samples = call.pop("samples")
    assert call == {
        **learnt,
        "model": model,
        "epochs": 4,
        "learning_rate": 0.5,
        "batch_size": 7,
        "rng": source,
    }
    negative = samples.images.flatten() < 0
    forget, retain = samples.where(negative), samples.where(~negative)
    assert torch.equal(forget.images, FORGET.images)
    assert not bool((forget.labels == FORGET.labels).any())
    # Other forget classes are wrong labels like any other.
    assert forget.labels.unique().tolist() == [0, 1, 2, 3]
    assert len(retain) == (40 if repair else 0)
    if repair:
        assert torch.equal(retain.images, RETAIN.images)
        assert torch.equal(retain.labels, RETAIN.labels)


def test_the_data_keeps_its_own_labels(fitted: list[dict[str, Any]]) -> None:
    before = FORGET.labels.clone()
    list(RandomLabels().unlearn(nn.Identity(), granted(RandomLabels()), rng()))
    assert torch.equal(FORGET.labels, before)


def test_a_real_model_takes_a_step_per_batch() -> None:
    images = torch.rand(20, 1, 8, 8, generator=rng(1))
    forget = Samples(images, torch.ones(20, dtype=torch.long))
    access = Granted(
        frozenset({Access.FORGET}), {Access.FORGET: lambda: forget}, (1,), 3, (1, 8, 8)
    )
    model = catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)
    method = RandomLabels(epochs=2, batch_size=8)
    assert [batches_tracked(one) for one in method.unlearn(model, access, rng())] == [3, 6]
