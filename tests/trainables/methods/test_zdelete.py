"""DELETE without data: its target, its loss, what it is shown and what learns."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import rng, state
from trainables import methods
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.errors import AccessDenied, InvalidRequest
from trainables.generators.sampling import Sampler
from trainables.methods.zdelete import ZDelete, towards, without_classes
from trainables.models import catalogue
from trainables.models.answers import predict

SHAPE, CLASSES = (1, 8, 8), 3


class Numbered(Sampler):
    """Images that hold the number of their source, and noise; notes what is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
        self.asked.append((source, count))
        images = torch.randn(count, *SHAPE, generator=rng)
        images[:, 0, 0, 0] = source
        return Samples(images, torch.zeros(count, dtype=torch.long))


def granted(sampler: Sampler, forget: tuple[int, ...] = (1,), gans: bool = False) -> Granted:
    access = Access.GANS if gans else Access.INVERTED
    return Granted(frozenset({access}), {access: lambda: sampler}, forget, CLASSES, SHAPE)


def base() -> nn.Module:
    return catalogue.build("allcnn", SHAPE, CLASSES, 0.05, seed=0).eval()


def few(**values: Any) -> ZDelete:
    return ZDelete(
        **{
            **{"epochs": 2, "head_epochs": 0, "generators": 2},
            **{"samples_per_generator": 20, "batch_size": 8},
            **values,
        }
    )


class TestTarget:
    """The original's answer without the forgotten classes."""

    def test_by_hand(self) -> None:
        logits = torch.tensor([[0.1, 0.5, 0.4], [0.98, 0.01, 0.01]]).log() + 3
        found = without_classes(logits, (0,))
        torch.testing.assert_close(found, torch.tensor([[0, 5 / 9, 4 / 9], [0, 0.5, 0.5]]))
        torch.testing.assert_close(
            without_classes(logits, (2, 0)), torch.tensor([[0, 1.0, 0], [0, 1.0, 0]])
        )

    def test_the_logits_stay_as_they_are(self) -> None:
        logits = torch.randn(4, 3, generator=rng())
        before = logits.clone()
        without_classes(logits, (1,))
        assert torch.equal(logits, before)

    def test_a_class_that_had_everything_leaves_the_rest_by_their_logits(self) -> None:
        found = without_classes(torch.tensor([[500.0, 1.0, 1.0]]), (0,))
        assert found.tolist() == [[0, 0.5, 0.5]]


class TestLoss:
    """KL(wanted || answered)."""

    def test_by_hand(self) -> None:
        wanted = torch.tensor([[0, 0.25, 0.75], [0, 1.0, 0]])
        outputs = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]]).log()
        first, second = 0.75 * math.log(3), math.log(1 / 0.4)
        assert towards(outputs, wanted).item() == pytest.approx((first + second) / 2)

    def test_it_is_0_where_the_answer_is_what_is_wanted(self) -> None:
        wanted = torch.tensor([[0.5, 0.25, 0.25]])
        assert towards(wanted.log() - 2, wanted).item() == pytest.approx(0, abs=1e-7)

    def test_gradients_are_those_of_the_difference(self) -> None:
        outputs = torch.randn(5, 3, generator=rng(), requires_grad=True)
        wanted = without_classes(torch.randn(5, 3, generator=rng(1)), (1,))
        (found,) = torch.autograd.grad(towards(outputs, wanted), outputs)
        expected = (functional.softmax(outputs.detach(), dim=1) - wanted) / 5
        torch.testing.assert_close(found, expected)


def test_every_generator_is_asked_for_as_many_images() -> None:
    sampler = Numbered()
    images = few(generators=3).images(granted(sampler), rng())
    assert sampler.asked == [(0, 20), (1, 20), (2, 20)]
    assert images[:, 0, 0, 0].tolist() == [float(n) for n in range(3) for _ in range(20)]


def test_of_gans_every_class_is_asked() -> None:
    sampler = Numbered()
    method = few(source="gans")
    assert method.needs == frozenset({Access.GANS})
    assert ZDelete().needs == frozenset({Access.INVERTED})
    method.images(granted(sampler, gans=True), rng())
    assert sampler.asked == [(0, 20), (1, 20), (2, 20)]
    with pytest.raises(AccessDenied):
        method.images(granted(sampler), rng())


def test_a_pass_shows_all_images_and_what_the_original_says_of_them() -> None:
    model, method = base(), few(epochs=3, head_epochs=2)
    planned = [each for each in method.plan(model, granted(Numbered()), rng(4)) if each]
    assert len(planned) == 5
    images = method.images(granted(Numbered()), rng(4))
    expected = without_classes(predict(model, images), (1,))
    for each in planned:
        assert torch.equal(each.images, images)
        assert torch.equal(each.others[0], expected)
        assert (each.loss, each.batch_size, each.batch_norm) == (towards, 8, "frozen")


def test_it_learns_the_target_in_its_features_and_leaves_the_head() -> None:
    model, method = base(), few(learning_rate=3e-3, epochs=15, batch_size=16, layers=5)
    images = method.images(granted(Numbered()), rng(4))
    before = state(model)

    def mean_chance() -> float:
        answered: Tensor = predict(model, images).softmax(1)
        return float(answered[:, 1].mean())

    chance = mean_chance()
    phases = [each is model for each in method.unlearn(model, granted(Numbered()), rng(4))]
    assert phases == [True] * 15
    assert mean_chance() < 0.6 * chance
    after = state(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    # The five before the head, of eight; a frozen norm's weight and bias learn.
    assert {name.split(".")[1] for name in changed} == {"3", "4", "5", "6", "7"}
    assert not any(
        part in name for name in changed for part in ("classifier", "running", "batches")
    )


def test_at_last_the_head_learns_alone() -> None:
    model = base()
    states = [state(model)]
    method = few(epochs=1, head_epochs=2, layers=1)
    states += [state(model) for _ in method.unlearn(model, granted(Numbered()), rng())]
    changed = [
        {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in pairwise(states)
    ]
    assert changed == [{"features"}, {"classifier"}, {"classifier"}]


def test_its_trials_can_be_fused() -> None:
    assert methods.is_plan("zdelete")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"generators": 0}, "generators is 0"),
        ({"samples_per_generator": 1}, "samples_per_generator is 1"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"head_epochs": -1}, "head_epochs is -1"),
        ({"source": "photos"}, "source is 'photos'; possible: inverted, gans"),
        ({"layers": 0}, "layers is 0"),
        ({"batch_norm": "x"}, "batch_norm is 'x'"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        ZDelete(**values)
