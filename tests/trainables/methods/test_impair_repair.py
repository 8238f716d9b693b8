"""Impair-repair step by step, against gradients and Adam worked out in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import Witness, batches_tracked, numbers, rng, state
from trainables.data.dataset import Samples
from trainables.methods.impair_repair import Direction, impair_repair, towards_model
from trainables.training import passes
from trainables.training.losses import distillation

T = 4.0
RATE = 0.05
PIXELS = [0.5, -1.0, 2.0, 0.25]
OTHER = [1.5, 0.5, -0.5, -2.0]
DIRECTIONS: list[Direction] = ["reference", "model"]


class Tiny(nn.Module):
    """Three logits, linear in four pixels; in evaluation mode those of an image of ones.

    So a reference in evaluation mode gives one known target, whatever noise it is shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.arange(12.0).view(3, 4) / 10 - 0.5)
            self.linear.bias.copy_(torch.tensor([0.3, -0.2, 0.1]))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1)
        logits: Tensor = self.linear(pixels if self.training else torch.ones_like(pixels))
        return logits


def copies(count: int, pixels: list[float], label: int) -> Samples:
    """The same image many times, so that the order of samples does not matter."""
    images = torch.tensor(pixels).view(1, 1, 2, 2).repeat(count, 1, 1, 1)
    return Samples(images, torch.full((count,), label))


def run(model: nn.Module, forget: Samples, retain: Samples, **changes: Any) -> Iterator[nn.Module]:
    settings: dict[str, Any] = {
        "learning_rate": RATE,
        "temperature": T,
        "forget_batch_size": 4,
        "retain_batch_size": 4,
        "direction": "reference",
        "rng": rng(3),
    }
    settings |= changes
    return passes.run(impair_repair(model, forget, retain, **settings), model, settings["rng"])


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())


class ByHand:
    """The linear layer of `Tiny` (a 3x5 matrix, the bias last) under Adam, in float64."""

    def __init__(self) -> None:
        linear = Tiny().linear
        weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
        self.theta = torch.cat([weight, bias[:, None]], 1).numpy()
        self.target = softmax(self.theta @ np.ones(5) / T)
        self.forget_adam()

    def forget_adam(self) -> None:
        self.first, self.second, self.steps = np.zeros((3, 5)), np.zeros((3, 5)), 0

    def step(self, gradient: np.ndarray) -> None:
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean = self.first / (1 - 0.9**self.steps)
        spread = np.sqrt(self.second / (1 - 0.999**self.steps))
        self.theta = self.theta - RATE * mean / (spread + 1e-8)

    def impair_gradient(self, direction: str) -> np.ndarray:
        inputs = np.array([*PIXELS, 1.0])
        answer = softmax(self.theta @ inputs / T)
        if direction == "reference":  # t^2 KL(r || m): the logits' gradient is t (m - r)
            slope = T * (answer - self.target)
        else:  # t^2 KL(m || r): t m (log m/r - KL)
            ratio = np.log(answer / self.target)
            slope = T * answer * (ratio - (answer * ratio).sum())
        return np.outer(slope, inputs)

    def repair_gradient(self, pixels: list[float], label: int) -> np.ndarray:
        inputs = np.array([*pixels, 1.0])
        return np.outer(softmax(self.theta @ inputs) - np.eye(3)[label], inputs)


def theta(model: Tiny) -> np.ndarray:
    joined = torch.cat([model.linear.weight, model.linear.bias[:, None]], 1)
    return joined.detach().double().numpy()


def gradients(model: Tiny) -> np.ndarray:
    weight, bias = model.linear.weight.grad, model.linear.bias.grad
    assert weight is not None
    assert bias is not None
    return torch.cat([weight, bias[:, None]], 1).double().numpy()


def test_the_loss_towards_the_model_takes_the_expectation_over_the_model() -> None:
    """KL((1/2, 1/2) || (3/4, 1/4)) at t = 2, where doubled logits soften to these; t^2 is 4."""
    outputs, targets = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * log(3), 0.0]])
    expected = 4 * (0.5 * log(2 / 3) + 0.5 * log(2))
    assert towards_model(outputs, targets, 2.0).item() == pytest.approx(expected)
    assert distillation(outputs, targets, 2.0).item() != pytest.approx(expected, rel=0.05)


class TestImpair:
    """On forget images the model must answer as the original does on noise."""

    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_the_first_step_is_the_equations(self, direction: Direction) -> None:
        model, hand = Tiny(), ByHand()
        next(run(model, copies(4, PIXELS, 0), copies(4, PIXELS, 1), direction=direction))
        gradient = hand.impair_gradient(direction)
        np.testing.assert_allclose(gradients(model), gradient, rtol=1e-4, atol=1e-6)
        hand.step(gradient)
        np.testing.assert_allclose(theta(model), hand.theta, rtol=1e-5, atol=1e-6)

    def test_the_two_directions_are_two_losses(self) -> None:
        found = []
        for direction in DIRECTIONS:
            model = Tiny()
            next(run(model, copies(4, PIXELS, 0), copies(4, PIXELS, 1), direction=direction))
            found.append(gradients(model))
        assert np.abs(found[0] - found[1]).max() > 0.01

    def test_the_reference_stays_the_original_while_the_model_moves(self) -> None:
        model, hand = Tiny(), ByHand()
        next(run(model, copies(12, PIXELS, 0), copies(4, PIXELS, 1)))
        for _ in range(3):
            hand.step(hand.impair_gradient("reference"))
        np.testing.assert_allclose(theta(model), hand.theta, rtol=1e-5, atol=1e-6)

    def test_the_labels_of_forget_samples_play_no_part(self) -> None:
        models = [Tiny(), Tiny()]
        for label, model in enumerate(models):
            next(run(model, copies(4, PIXELS, label), copies(4, PIXELS, 1)))
        assert np.array_equal(theta(models[0]), theta(models[1]))


class TestRepair:
    """Cross-entropy on the retain images, with the optimiser that impaired."""

    def by_hand(self, carry_over: bool) -> np.ndarray:
        hand = ByHand()
        for _ in range(2):
            hand.step(hand.impair_gradient("reference"))
        if not carry_over:
            hand.forget_adam()
        for _ in range(2):
            hand.step(hand.repair_gradient(OTHER, 2))
        return hand.theta

    def test_moments_carry_over_from_impairing(self) -> None:
        model = Tiny()
        list(run(model, copies(8, PIXELS, 0), copies(8, OTHER, 2)))
        np.testing.assert_allclose(theta(model), self.by_hand(True), rtol=1e-5, atol=1e-6)
        assert np.abs(theta(model) - self.by_hand(False)).max() > 0.01

    def test_the_temperature_plays_no_part_in_repairing(self) -> None:
        model, hand = Tiny(), ByHand()
        phases = run(model, copies(4, PIXELS, 0), copies(4, OTHER, 2))
        next(phases)
        hand.step(hand.impair_gradient("reference"))
        gradient = hand.repair_gradient(OTHER, 2)
        next(phases)
        np.testing.assert_allclose(gradients(model), gradient, rtol=1e-4, atol=1e-5)


@pytest.fixture
def forget() -> Samples:
    """Ten images; the first pixel numbers them."""
    images = torch.randn(10, 1, 2, 2, generator=rng(1))
    images[:, 0, 0, 0] = torch.arange(10.0)
    return Samples(images, torch.zeros(10).long())


@pytest.fixture
def retain() -> Samples:
    """Fourteen images, numbered from 100."""
    images = torch.randn(14, 1, 2, 2, generator=rng(2))
    images[:, 0, 0, 0] = torch.arange(100.0, 114.0)
    return Samples(images, torch.arange(14) % 2 + 1)


class TestPasses:
    """What is seen, how often, by whom."""

    def test_each_sample_is_seen_once_by_the_model(self, forget: Samples, retain: Samples) -> None:
        model = Witness()
        phases = run(model, forget, retain, forget_batch_size=4, retain_batch_size=6)
        next(phases)
        impaired = model.of("model")
        assert sorted(numbers(impaired)) == list(range(10))
        assert [len(images) for images in impaired] == [4, 4, 2]
        next(phases)
        repaired = model.of("model")[len(impaired) :]
        assert sorted(numbers(repaired)) == list(range(100, 114))
        assert [len(images) for images in repaired] == [6, 6, 2]

    def test_the_passes_are_shuffled(self, forget: Samples, retain: Samples) -> None:
        model = Witness()
        list(run(model, forget, retain, forget_batch_size=10, retain_batch_size=14))
        impaired, repaired = (numbers([images]) for images in model.of("model"))
        assert impaired != sorted(impaired)
        assert repaired != sorted(repaired)

    def test_the_reference_sees_fresh_noise_in_0_to_1_and_no_image(
        self, forget: Samples, retain: Samples
    ) -> None:
        model = Witness()
        many = Samples(forget.images.repeat(250, 1, 1, 1), forget.labels.repeat(250))
        list(run(model, many, retain, forget_batch_size=500))
        assert model.copies == ["copy 1"]
        noises = model.of("copy 1")
        everything = torch.cat(noises)
        assert everything.shape == (2_500, 1, 2, 2), "one for each image"
        assert len(everything.unique(dim=0)) == 2_500
        assert len(everything.unique()) > 9_900, "and for each pixel, but for chance"
        assert len(noises) == 3
        for noise in noises:
            assert noise.min() >= 0
            assert noise.max() < 1
            # Uniform: mean 1/2, variance 1/12.
            assert noise.mean().item() == pytest.approx(0.5, abs=0.03)
            assert noise.var().item() == pytest.approx(1 / 12, abs=0.01)

    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_each_forget_image_has_a_target_of_its_own_the_originals_answer_to_its_noise(
        self,
        forget: Samples,
        retain: Samples,
        direction: Direction,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        targets: list[Tensor] = []

        def note(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
            targets.append(teacher if direction == "reference" else student)
            return distillation(student, teacher, temperature)

        monkeypatch.setattr("trainables.methods.impair_repair.distillation", note)
        monkeypatch.setattr("trainables.methods.impair_repair.BATCH", 3)  # four draws of noise
        model = Witness()
        next(run(model, forget, retain, forget_batch_size=4, direction=direction))
        noises = model.of("copy 1")
        assert [len(noise) for noise in noises] == [3, 3, 3, 1]
        with torch.no_grad():
            expected = Witness().eval()(torch.cat(noises))
        assert len(expected.unique(dim=0)) == 10
        assert len(targets) == 3
        for images, target in zip(model.of("model"), targets, strict=True):
            torch.testing.assert_close(target, expected[numbers([images])])
            assert not target.requires_grad

    def test_all_noise_is_drawn_before_the_model_learns(
        self, forget: Samples, retain: Samples
    ) -> None:
        """So what trials draw does not hang on their batch size."""
        noises = []
        for size in (3, 5):
            model = Witness()
            next(run(model, forget, retain, forget_batch_size=size))
            who = [name for name, *_ in model.seen]
            assert who == sorted(who), "the copy goes before the model"
            noises.append(torch.cat(model.of("copy 1")))
        assert torch.equal(noises[0], noises[1])

    def test_the_reference_judges_in_evaluation_mode_without_gradients(
        self, forget: Samples, retain: Samples
    ) -> None:
        model = Witness()
        list(run(model, forget, retain))
        assert model.modes("model") == {(True, True)}
        assert model.modes("copy 1") == {(False, False)}

    def test_batch_norm_learns_in_both_passes(self, forget: Samples, retain: Samples) -> None:
        model = Witness().eval()
        phases = run(model, forget, retain, forget_batch_size=5, retain_batch_size=7)
        next(phases)
        assert batches_tracked(model) == 2
        next(phases)
        assert batches_tracked(model) == 4

    def test_a_look_between_the_passes_changes_nothing(
        self, forget: Samples, retain: Samples
    ) -> None:
        alone, watched = Witness(), Witness()
        list(run(alone, forget, retain))
        for model in run(watched, forget, retain):
            model.eval()
        for name, tensor in state(alone).items():
            assert torch.equal(tensor, watched.state_dict()[name]), name

    def test_the_model_itself_is_yielded_after_each_pass(
        self, forget: Samples, retain: Samples
    ) -> None:
        model = Witness()
        yielded = list(run(model, forget, retain))
        assert len(yielded) == 2
        assert all(one is model for one in yielded)

    def test_the_random_source_decides(self, forget: Samples, retain: Samples) -> None:
        ends, noises, orders = [], [], []
        for seed in (1, 1, 2):
            model = Witness()
            list(run(model, forget, retain, rng=rng(seed)))
            ends.append(model.linear.weight.detach().clone())
            noises.append(torch.cat(model.of("copy 1")))
            orders.append(numbers(model.of("model")))
        for drawn in (ends, noises):
            assert torch.equal(drawn[0], drawn[1])
            assert not torch.equal(drawn[0], drawn[2])
        assert orders[0] == orders[1] != orders[2]
