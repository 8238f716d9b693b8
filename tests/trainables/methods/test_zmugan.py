"""zMuGAN: what it draws, how it labels and counts it, and that its hyperparameters arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import SHAPE, CodedClassifier, rng
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.errors import AccessDenied, TooFewSamples
from trainables.generators import kegnet
from trainables.generators.sampling import Ensemble
from trainables.methods import zmugan
from trainables.methods.zmugan import LEAST_PER_CLASS, ZMuGAN
from trainables.training.passes import PHASE_ENDS, Plan

CLASSES = 4


class Shifting(nn.Module):
    """Paints the code after the label that it was fed; its own number and noise beside it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.num_classes = number, CLASSES
        self.drawn = 0

    def codes(self, labels: Tensor) -> Tensor:
        return (labels + 1) % CLASSES

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        images = torch.zeros(len(labels), *SHAPE)
        images[:, 0, 0, 0] = self.codes(labels) / 10
        images[:, 0, 0, 1] = self.number
        images[:, 0, 1, 0] = labels.float()
        images[:, 0, 1, 1] = noise[:, 0]
        self.drawn += len(labels)
        return images


class Cycling(Shifting):
    """Paints these codes in turn, whatever it is fed."""

    def __init__(self, number: int, codes: Sequence[int]) -> None:
        super().__init__(number)
        self.cycle = torch.tensor(codes)

    def codes(self, labels: Tensor) -> Tensor:
        return self.cycle[torch.arange(len(labels)) % len(self.cycle)]


class Settled(CodedClassifier):
    """Is to be asked in evaluation mode."""

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        return super().forward(images)


def granted(forget: tuple[int, ...], members: Sequence[Shifting] | None = None) -> Granted:
    chosen = [Shifting(number) for number in range(5)] if members is None else list(members)
    inverted = Ensemble(cast("list[kegnet.Generator]", chosen), Settled(CLASSES).eval())
    return Granted(
        frozenset({Access.INVERTED}), {Access.INVERTED: lambda: inverted}, forget, CLASSES, SHAPE
    )


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What zMuGAN hands to impair-repair."""
    caught: dict[str, Any] = {}

    def catch(model: nn.Module, forget: Samples, retain: Samples, **settings: Any) -> Plan:
        caught.update(model=model, forget=forget, retain=retain, **settings)
        yield PHASE_ENDS
        yield PHASE_ENDS

    monkeypatch.setattr(zmugan, "impair_repair", catch)
    return caught


def all_images(handed: dict[str, Any]) -> Tensor:
    return torch.cat([handed["forget"].images, handed["retain"].images])


@pytest.mark.parametrize("generators", [1, 2, 5])
def test_exactly_so_many_members_give_their_samples(
    handed: dict[str, Any], generators: int
) -> None:
    members = [Shifting(number) for number in range(5)]
    method = ZMuGAN(generators=generators, samples_per_generator=150)
    list(method.unlearn(Settled(CLASSES), granted((1,), members), rng()))
    assert [member.drawn for member in members] == [150] * generators + [0] * (5 - generators)
    numbers = all_images(handed)[:, 0, 0, 1].long()
    assert torch.bincount(numbers).tolist() == [150] * generators
    noises = all_images(handed)[:, 0, 1, 1]
    assert len(noises.unique()) == 150 * generators, "every member is fed noise of its own"


@pytest.mark.parametrize("forget", [(1,), (0, 3)])
def test_labels_are_what_the_model_says_and_split_the_samples(
    handed: dict[str, Any], forget: tuple[int, ...]
) -> None:
    model = Settled(CLASSES).train()
    list(ZMuGAN(generators=2, samples_per_generator=1_100).unlearn(model, granted(forget), rng()))
    for name, wanted in (
        ("forget", set(forget)),
        ("retain", set(range(CLASSES)) - set(forget)),
    ):
        images, labels = handed[name].images, handed[name].labels
        assert set(labels.tolist()) == wanted
        assert torch.equal((images[:, 0, 0, 0] * 10).round().long(), labels)
        fed = images[:, 0, 1, 0].long()
        assert not (fed == labels).any(), "what a generator was fed is not what it shows"
    assert len(all_images(handed)) == 2_200
    assert not handed["forget"].images.is_inference(), "the model is to be trained on them"
    assert not handed["retain"].labels.is_inference()


def test_what_fell_to_each_class_is_reported(handed: dict[str, Any]) -> None:
    members = [Cycling(0, [0, 1, 2, 3]), Cycling(1, [3, 3, 1, 2])]
    access = granted((1,), members)
    method = ZMuGAN(generators=2, samples_per_generator=40)
    list(method.unlearn(Settled(CLASSES), access, rng()))
    assert access.reported == {"samples_by_class": [10, 20, 20, 30]}
    assert len(handed["forget"]) == 20
    assert torch.bincount(handed["retain"].labels).tolist() == [10, 0, 20, 30]


@pytest.mark.parametrize(
    ("codes", "count", "scarce", "found"),
    [
        ([0, 1, 2, 3], 4 * LEAST_PER_CLASS - 1, 3, LEAST_PER_CLASS - 1),
        ([3, 2, 1, 0], 4 * LEAST_PER_CLASS - 1, 0, LEAST_PER_CLASS - 1),
        ([0, 2, 3], 300, 1, 0),
        ([0, 1, 2], 300, 3, 0),
    ],
    ids=["a retain class", "another", "no forget class", "the last class is not there at all"],
)
def test_too_few_samples_of_a_class_end_the_trial_with_advice(
    handed: dict[str, Any], codes: list[int], count: int, scarce: int, found: int
) -> None:
    access = granted((1,), [Cycling(0, codes)])
    method = ZMuGAN(generators=1, samples_per_generator=count)
    with pytest.raises(TooFewSamples) as caught:
        list(method.unlearn(Settled(CLASSES), access, rng()))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert f"of {count} samples only {found} fell to class {scarce}" in message
    for advice in ("samples_per_generator", "generators", "inversion.steps"):
        assert advice in message
    assert handed == {}
    assert len(access.reported["samples_by_class"]) == CLASSES, "which says where they fell"
    assert sum(access.reported["samples_by_class"]) == count


def test_the_class_that_is_named_is_the_one_that_is_counted(handed: dict[str, Any]) -> None:
    access = granted((1,), [Cycling(0, [2] * 20 + [0])])  # 1 of class 0, none of 1 and 3
    method = ZMuGAN(generators=1, samples_per_generator=21)
    with pytest.raises(TooFewSamples) as caught:
        list(method.unlearn(Settled(CLASSES), access, rng()))
    words = str(caught.value).split()
    named = int(words[words.index("class") + 1])
    assert int(words[words.index("only") + 1]) == access.reported["samples_by_class"][named]


def test_just_enough_samples_of_every_class_are_enough(handed: dict[str, Any]) -> None:
    access = granted((1,), [Cycling(0, [0, 1, 2, 3])])
    method = ZMuGAN(generators=1, samples_per_generator=4 * LEAST_PER_CLASS)
    list(method.unlearn(Settled(CLASSES), access, rng()))
    assert len(handed["forget"]) == LEAST_PER_CLASS == 10


def test_every_hyperparameter_arrives(handed: dict[str, Any]) -> None:
    model, source = Settled(CLASSES), rng()
    method = ZMuGAN(
        learning_rate=0.5,
        generators=1,
        samples_per_generator=40,
        temperature=2.0,
        forget_batch_size=5,
        retain_batch_size=7,
        direction="model",
        batch_norm="frozen",
        layers=3,
    )
    yielded = list(method.unlearn(model, granted((1,), [Cycling(0, [0, 1, 2, 3])]), source))
    assert len(handed.pop("forget")) == 10
    assert len(handed.pop("retain")) == 30
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
        method = ZMuGAN(generators=2, samples_per_generator=100)
        list(method.unlearn(Settled(CLASSES), granted((1,)), rng(seed)))
        drawn.append(all_images(handed))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_it_needs_generators_and_no_data() -> None:
    assert ZMuGAN.needs == {Access.INVERTED}
    with pytest.raises(AccessDenied):
        list(ZMuGAN().unlearn(Settled(CLASSES), Granted(frozenset(), {}, (1,), 4, SHAPE), rng()))


def test_defaults_are_the_thesis() -> None:
    assert (ZMuGAN().generators, ZMuGAN().samples_per_generator) == (5, 1_000)


@pytest.mark.parametrize(
    "values",
    [
        {"generators": 0},
        {"samples_per_generator": 1},
        {"forget_batch_size": 1},
        {"retain_batch_size": 1},
        {"learning_rate": 0.0},
        {"temperature": 0.0},
        {"direction": "both"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_impossible_hyperparameters_are_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        ZMuGAN(**values)
