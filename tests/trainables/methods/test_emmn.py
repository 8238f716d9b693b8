"""EMMN: what its noise does to a model, what is trained on when, and that no data is needed."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.access import Granted
from trainables.data.dataset import Samples
from trainables.errors import InvalidRequest
from trainables.methods import emmn
from trainables.methods.emmn import EMMN, minimising_loss
from trainables.models import catalogue
from trainables.models.copies import clone
from trainables.workbench import Workbench

SHAPE = (1, 8, 8)
NOTHING = Granted(frozenset(), {}, (1,), 3, SHAPE)
"""Access to no data at all: forget class 1 of three."""
SHORT: dict[str, Any] = {"repeats": 2, "maximise_steps": 2, "minimise_steps": 2}


def base() -> nn.Module:
    return catalogue.build("allcnn", SHAPE, 3, 0.05, seed=0)


class Tiny(nn.Module):
    """Two logits: the only pixel of an image, and its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return logits


def error(model: nn.Module, images: Tensor, label: int) -> float:
    """Cross-entropy of `model`, in evaluation mode, on these images with this label."""
    with torch.no_grad():
        logits = clone(model).eval()(images)
    return functional.cross_entropy(logits, torch.full((len(images),), label)).item()


def adam(pixels: list[float], gradients: list[list[float]]) -> list[float]:
    """The pixels after a step of Adam 0.1 for each row of gradients, by its definition."""
    found = []
    for i, pixel in enumerate(pixels):
        first = second = 0.0
        for t, gradient in enumerate((row[i] for row in gradients), start=1):
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            pixel -= 0.1 * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)) ** 0.5 + 1e-8)
        found.append(pixel)
    return found


class TestNoise:
    """The noise of one class."""

    def test_the_minimising_loss_is_the_cross_entropy_and_no_more(self) -> None:
        logits = torch.tensor([[log(3), 0.0], [0.0, 0.0]])  # softmax: 3/4, 1/4; 1/2, 1/2
        for label, expected in ((0, log(4 / 3)), (1, log(4))):
            labels = torch.tensor([label, label])
            loss = minimising_loss(logits, labels, torch.full((2, 1, 2, 2), 9.0))
            assert loss.item() == pytest.approx((expected + log(2)) / 2)

    @pytest.mark.parametrize("label", [0, 1])
    @pytest.mark.parametrize("forget", [True, False])
    def test_both_are_made_as_by_hand_on_a_tiny_network(self, label: int, forget: bool) -> None:
        """With logits (x, -x) d cross-entropy / dx = -2 s p(other), s = 1 for label 0, else -1."""
        access = Granted(frozenset(), {}, (label if forget else 1 - label,), 2, (1, 1, 1))
        method = EMMN(noise_batch=3, maximise_steps=2, minimise_steps=3, noise_weight=0.2)
        start = torch.randn(3, 1, 1, 1, generator=rng(4)).flatten().tolist()
        sign = 1 - 2 * label
        pixels, gradients = start, []
        for _ in range(2 if forget else 3):
            slopes = [-2 * sign / (1 + exp(2 * sign * x)) / 3 for x in pixels]
            gradients.append(
                [0.2 * 2 * x / 3 - slope for x, slope in zip(pixels, slopes, strict=True)]
                if forget
                else slopes
            )
            pixels = adam(start, gradients)
        found = method.noise(Tiny(), label, access, rng(4))
        assert found.flatten().tolist() == pytest.approx(pixels, abs=1e-5)

    @pytest.mark.parametrize("label", [0, 1, 2])
    def test_by_default_a_trained_model_errs_more_about_forget_and_less_about_retain_classes(
        self, bench: Workbench, label: int
    ) -> None:
        start = torch.randn(4, *SHAPE, generator=rng(4))
        plain = error(bench.base, start, label)
        for forget in (label, (label + 1) % 3):
            access = Granted(frozenset(), {}, (forget,), 3, SHAPE)
            noise = EMMN().noise(bench.base, label, access, rng(4))
            found = error(bench.base, noise, label)
            if forget == label:
                assert found > 1.2 * plain
            else:
                assert found < 0.5 * plain

    @pytest.mark.parametrize("label", [0, 1])
    def test_the_model_is_frozen_and_in_evaluation_mode(self, label: int) -> None:
        model = base().train()
        before = state(model)
        noise = EMMN(noise_batch=5, **SHORT).noise(model, label, NOTHING, rng())
        assert same(state(model), before), "neither weights nor running statistics change"
        assert model.training
        assert all(weight.grad is None for weight in model.parameters())
        assert all(weight.requires_grad for weight in model.parameters()), "it is trained later"
        assert noise.shape == (5, *SHAPE)
        assert not noise.requires_grad
        evaluated = EMMN(noise_batch=5, **SHORT).noise(base().eval(), label, NOTHING, rng())
        assert torch.equal(noise, evaluated)


class Fit(NamedTuple):
    """One call of `fit`."""

    samples: Samples
    epochs: int
    learning_rate: float
    batch_size: int
    batch_norm: str
    layers: str | int


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Fit]:
    """What is trained on, noted; no weight moves."""
    noted: list[Fit] = []

    def note(
        model: nn.Module,
        samples: Samples,
        *,
        epochs: int,
        learning_rate: float,
        batch_size: int,
        rng: torch.Generator,
        batch_norm: str,
        layers: str | int,
    ) -> Iterator[float]:
        noted.append(Fit(samples, epochs, learning_rate, batch_size, batch_norm, layers))
        yield from [0.0] * epochs

    monkeypatch.setattr(emmn, "fit", note)
    return noted


def test_impairing_is_on_all_noise_and_repairing_on_the_retain_classes_noise(
    fits: list[Fit],
) -> None:
    learnt: dict[str, Any] = {"batch_norm": "frozen", "layers": 2}
    method = EMMN(0.3, epochs=3, repair_epochs=2, noise_batch=5, batch_size=7, **SHORT, **learnt)
    model = base()
    seen = [len(fits) for _ in method.unlearn(model, NOTHING, rng(4))]
    assert seen == [1, 1, 1, 2, 2], "yielded after each epoch"
    assert [one[1:] for one in fits] == [(3, 0.3, 7, "frozen", 2), (2, 0.3, 7, "frozen", 2)]
    impair, repair = (one.samples for one in fits)
    assert torch.bincount(impair.labels).tolist() == [10, 10, 10]
    assert torch.bincount(repair.labels).tolist() == [10, 0, 10]
    source = rng(4)
    for label in range(3):
        expected = method.noise(model, label, NOTHING, source)
        assert torch.equal(impair.of((label,)).images, expected.repeat(2, 1, 1, 1))
    assert torch.equal(repair.images, impair.without((1,)).images)


def test_each_label_is_the_class_that_its_image_was_made_for(
    fits: list[Fit], bench: Workbench
) -> None:
    list(EMMN(repeats=3).unlearn(clone(bench.base), NOTHING, rng()))
    samples = fits[0].samples
    with torch.no_grad():
        answered = bench.base(samples.images).argmax(1)
    wrong = answered != samples.labels
    assert torch.bincount(samples.labels[wrong], minlength=3).tolist() == [0, 12, 0]


def test_every_forget_class_gets_noise_of_its_own(fits: list[Fit], bench: Workbench) -> None:
    access = Granted(frozenset(), {}, (2, 0), 3, SHAPE)
    list(EMMN(repeats=1).unlearn(clone(bench.base), access, rng()))
    impair, repair = (one.samples for one in fits)
    assert torch.bincount(impair.labels).tolist() == [4, 4, 4]
    assert torch.bincount(repair.labels, minlength=3).tolist() == [0, 4, 0]
    for label in (0, 2):
        images = impair.of((label,)).images
        assert error(bench.base, images, label) > error(bench.base, images, 2 - label)


def test_batches_hold_four_images_as_in_the_thesis(fits: list[Fit]) -> None:
    list(EMMN().unlearn(base(), NOTHING, rng()))
    assert [one.batch_size for one in fits] == [4, 4]
    assert fits[0].samples.images.shape[0] == 3 * 4 * 80


@pytest.mark.parametrize("repairs", [0, 2])
def test_it_trains_the_model_that_it_is_given_with_no_data(repairs: int) -> None:
    model = base()
    before = state(model)
    method = EMMN(repair_epochs=repairs, batch_size=8, **SHORT)
    steps = []
    for found in method.unlearn(model, NOTHING, rng()):
        assert found is model
        steps.append(batches_tracked(model))
    assert steps == [3, 6, 8, 10][: 2 + repairs], "24 images, then 16, eight at a time"
    assert not same(state(model), before)
    assert EMMN.needs == frozenset()


def test_the_model_learns_the_labels_of_the_noise(bench: Workbench) -> None:
    """Impairing teaches it the forget class' label on the noise it erred most about."""
    model, access = clone(bench.base), Granted(frozenset(), {}, (0,), 3, SHAPE)
    method = EMMN(learning_rate=1e-3, epochs=3, repair_epochs=0, repeats=20, batch_size=32)
    noise = method.noise(model, 0, access, rng(4))
    before = error(model, noise, 0)
    list(method.unlearn(model, access, rng(4)))
    assert error(model, noise, 0) < 0.2 * before


def test_the_seed_decides_bit_for_bit() -> None:
    states: list[dict[str, Tensor]] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(states))
        model = base()
        list(EMMN(**SHORT).unlearn(model, NOTHING, rng(seed)))
        states.append(state(model))
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


@pytest.mark.parametrize(
    ("key", "least", "refused"),
    [
        ("learning_rate", 1e-30, 0.0),
        ("noise_weight", 1e-30, 0.0),
        ("epochs", 1, 0),
        ("repair_epochs", 0, -1),
        ("noise_batch", 2, 1),
        ("repeats", 1, 0),
        ("maximise_steps", 1, 0),
        ("minimise_steps", 1, 0),
        ("batch_size", 2, 1),
    ],
)
def test_the_least_possible_values(key: str, least: Any, refused: Any) -> None:
    assert getattr(EMMN(**{key: least}), key) == least
    with pytest.raises(InvalidRequest, match=f"{key} is {refused:g}"):
        EMMN(**{key: refused})
