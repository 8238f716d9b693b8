"""Conditional GAN: labels steer both networks, sizes and seeds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import rng, same, state
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.generators import cgan, dcgan
from trainables.generators.sampling import ClassGenerators, share_classified_as

SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (1, 5, 9)]


def samples(count: int = 8) -> Samples:
    images = torch.rand(count, 1, 8, 8, generator=rng(3)) * 2 - 1
    return Samples(images, torch.arange(count) % 3)


def shades() -> Samples:
    """Dark images of class 0 and bright ones of class 1."""
    labels = torch.arange(64) % 2
    noise = torch.rand(64, 1, 8, 8, generator=rng(3)) * 0.2
    return Samples(noise + torch.where(labels == 1, 0.6, -0.8)[:, None, None, None], labels)


class Brightness(nn.Module):
    """Class 1 for bright images, class 0 for dark ones."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_networks_fit_the_image(shape: tuple[int, int, int]) -> None:
    labels = torch.tensor([0, 4, 1])
    generator = cgan.ConditionalGenerator(shape, 5, 0.25).eval()
    images = generator(torch.randn(3, 100, generator=rng()), labels)
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert dcgan.draw(generator.of(4), 3, rng()).shape == (3, *shape)
    assert cgan.ConditionalDiscriminator(shape, 5, 0.25)(images, labels).shape == (3,)


class TestCondition:
    """What each network is told of the label."""

    def test_the_generator_gets_the_label_after_the_noise(self) -> None:
        generator = cgan.ConditionalGenerator((1, 8, 8), 3, 0.25).eval()
        seen: list[Tensor] = []
        generator.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        noise = torch.randn(2, 100, generator=rng())
        generator(noise, torch.tensor([2, 0]))
        assert torch.equal(seen[0][:, :100, 0, 0], noise)
        assert seen[0][:, 100:, 0, 0].tolist() == [[0, 0, 1], [1, 0, 0]]

    def test_the_discriminator_gets_a_plane_for_each_class(self) -> None:
        judge = cgan.ConditionalDiscriminator((3, 8, 9), 3, 0.25)
        seen: list[Tensor] = []
        judge.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        images = torch.rand(2, 3, 8, 9, generator=rng())
        judge(images, torch.tensor([2, 0]))
        assert torch.equal(seen[0][:, :3], images)
        planes = torch.tensor([[0.0, 0, 1], [1, 0, 0]])[:, :, None, None].expand(2, 3, 8, 9)
        assert torch.equal(seen[0][:, 3:], planes)

    def test_both_are_judged_with_the_labels_of_the_real_batch(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[tuple[str, Tensor, Tensor]] = []
        generate = cgan.ConditionalGenerator.forward
        judge = cgan.ConditionalDiscriminator.forward

        def note_generator(
            self: cgan.ConditionalGenerator, noise: Tensor, labels: Tensor
        ) -> Tensor:
            calls.append(("g", noise, labels))
            return generate(self, noise, labels)

        def note_judge(
            self: cgan.ConditionalDiscriminator, images: Tensor, labels: Tensor
        ) -> Tensor:
            calls.append(("d", images, labels))
            return judge(self, images, labels)

        monkeypatch.setattr(cgan.ConditionalGenerator, "forward", note_generator)
        monkeypatch.setattr(cgan.ConditionalDiscriminator, "forward", note_judge)
        shown = shades()
        cgan.train(shown, 2, 1, 4, 0.1)
        assert [who for who, _, _ in calls] == ["g", "d", "d", "d"]
        assert all(torch.equal(labels, calls[0][2]) for _, _, labels in calls)
        real, labels = calls[1][1:]
        assert set(labels.tolist()) == {0, 1}
        assert torch.equal(Brightness()(real).argmax(1), labels)


class TestOneClass:
    """The generator of one class, as other code sees it."""

    def test_it_equals_calling_with_that_label(self) -> None:
        generator = cgan.train(samples(), 3, 2, 4, 0.25)
        noise = torch.randn(4, 100, generator=rng())
        for label in range(3):
            expected = generator(noise, torch.full((4,), label))
            assert torch.equal(generator.of(label)(noise), expected)
            drawn = dcgan.draw(generator.of(label), 4, rng())
            assert torch.equal(drawn, expected)
        assert not torch.equal(generator.of(0)(noise), generator.of(1)(noise))

    def test_it_is_in_the_mode_of_its_generator(self) -> None:
        generator = cgan.ConditionalGenerator((1, 8, 8), 3, 0.25)
        for training in (True, False):
            part = generator.train(training).of(1)
            assert part.training is training
            assert generator.training is training

    def test_it_shares_the_weights(self) -> None:
        generator = cgan.ConditionalGenerator((1, 8, 8), 3, 0.25)
        mine = [parameter.data_ptr() for parameter in generator.parameters()]
        assert [parameter.data_ptr() for parameter in generator.of(1).parameters()] == mine


class TestTraining:
    """A few steps on a few images."""

    def test_two_classes_are_learnt_apart(self) -> None:
        generator = cgan.train(shades(), 2, 300, 4, 0.5)
        # Deaf to the label, the two shares would add up to 1.
        for label in (0, 1):
            assert share_classified_as(Brightness(), generator.of(label), label, 200, rng()) > 0.75
        assert dcgan.draw(generator.of(1), 200, rng()).mean() > 0.2
        assert dcgan.draw(generator.of(0), 200, rng()).mean() < -0.2
        whole = ClassGenerators({label: generator.of(label) for label in (0, 1)}, Brightness())
        assert whole.draw_each((1, 0), 20, rng()).labels.tolist() == [1] * 20 + [0] * 20

    def test_the_networks_start_as_dcgans(self) -> None:
        generator = cgan.train(samples(), 3, 0, 4)
        for layer in generator.modules():
            if isinstance(layer, nn.ConvTranspose2d) and layer.weight.numel() > 10_000:
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)

    def test_the_same_seed_gives_the_same_generator(self) -> None:
        one, other, third = (cgan.train(samples(), 3, 2, seed, 0.25) for seed in (4, 4, 5))
        assert same(state(one), state(other))
        assert not same(state(one), state(third))

    def test_the_global_random_state_neither_matters_nor_moves(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            one = cgan.train(samples(), 3, 2, 4, 0.25)
            torch.manual_seed(2)
            before = torch.get_rng_state()
            other = cgan.train(samples(), 3, 2, 4, 0.25)
            assert torch.equal(torch.get_rng_state(), before)
        assert same(state(one), state(other))

    def test_it_ends_in_evaluation_mode(self) -> None:
        assert not cgan.train(samples(), 3, 1, 4, 0.25).training

    def test_a_class_without_samples_is_no_error(self) -> None:
        generator = cgan.train(samples(), 5, 1, 4, 0.25)
        assert dcgan.draw(generator.of(4), 3, rng()).shape == (3, 1, 8, 8)

    def test_images_that_are_no_numbers_diverge(self) -> None:
        spoilt = Samples(torch.full((4, 1, 8, 8), float("nan")), torch.zeros(4).long())
        with pytest.raises(Diverged):
            cgan.train(spoilt, 3, 1, 4)
