"""DCGAN: sizes, ranges, seeds, and that training trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.trainables.toys import rng, same, state
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.generators import dcgan

SHAPES = [(c, side, side) for c in (1, 3) for side in (8, 28, 32)] + [(1, 5, 9), (3, 30, 20)]


def samples(count: int = 8) -> Samples:
    images = torch.rand(count, 1, 8, 8, generator=rng(3)) * 2 - 1
    return Samples(images, torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("shape", SHAPES)
class TestShapes:
    """Both networks fit the image."""

    def test_images_have_the_shape_asked_for_and_lie_in_range(
        self, shape: tuple[int, int, int]
    ) -> None:
        images = dcgan.draw(dcgan.Generator(shape).eval(), 3, rng())
        assert images.shape == (3, *shape)
        assert images.abs().max() <= 1

    def test_even_extreme_activations_stay_in_range(self, shape: tuple[int, int, int]) -> None:
        generator = dcgan.Generator(shape).eval()
        with torch.no_grad():
            for weight in generator.parameters():
                weight.mul_(100)
        images = dcgan.draw(generator, 3, rng())
        assert images.max() <= 1
        assert images.min() >= -1
        assert images.abs().max() > 0.99

    def test_the_discriminator_gives_one_logit_an_image(self, shape: tuple[int, int, int]) -> None:
        assert dcgan.Discriminator(shape)(torch.zeros(3, *shape)).shape == (3,)


def test_channels_double_from_64_next_to_the_image() -> None:
    layers = [
        layer
        for layer in dcgan.Generator((3, 32, 32)).modules()
        if isinstance(layer, nn.ConvTranspose2d)
    ]
    assert [layer.in_channels for layer in layers] == [100, 256, 128, 64]
    assert layers[-1].out_channels == 3


def test_a_width_scales_the_channels_of_both_networks() -> None:
    narrow = [
        layer.in_channels
        for layer in dcgan.Generator((3, 32, 32), width=0.25).modules()
        if isinstance(layer, nn.ConvTranspose2d)
    ]
    assert narrow == [100, 64, 32, 16]
    opposite = [
        layer.out_channels
        for layer in dcgan.Discriminator((3, 32, 32), width=0.25).modules()
        if isinstance(layer, nn.Conv2d)
    ]
    assert opposite == [16, 32, 64, 1]
    assert dcgan.train(samples(), 1, seed=4, width=0.25).layers[0].out_channels == 16


def test_weights_start_as_in_the_paper() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = dcgan.Generator((3, 32, 32))
    for layer in generator.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            assert layer.weight.mean().item() == pytest.approx(0, abs=0.002)
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.01)
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.3)
            assert not layer.bias.any()


class TestTraining:
    """A few steps on a few images."""

    def test_the_same_seed_gives_the_same_generator(self) -> None:
        one, other, third = (dcgan.train(samples(), 2, seed) for seed in (4, 4, 5))
        assert same(state(one), state(other))
        assert not same(state(one), state(third))

    def test_the_global_random_state_neither_matters_nor_moves(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            one = dcgan.train(samples(), 2, seed=4)
            torch.manual_seed(2)
            before = torch.get_rng_state()
            other = dcgan.train(samples(), 2, seed=4)
            assert torch.equal(torch.get_rng_state(), before)
        assert same(state(one), state(other))

    def test_every_step_moves_every_weight_of_the_generator(self) -> None:
        untrained, once, twice = (dcgan.train(samples(), steps, seed=4) for steps in (0, 1, 2))
        for before, after in ((untrained, once), (once, twice)):
            for first, second in zip(before.parameters(), after.parameters(), strict=True):
                assert not torch.equal(first, second)

    def test_it_ends_in_evaluation_mode(self) -> None:
        assert not dcgan.train(samples(), 1, seed=4).training

    def test_two_images_are_enough(self) -> None:
        assert dcgan.draw(dcgan.train(samples(2), 1, seed=4), 3, rng()).shape == (3, 1, 8, 8)

    def test_images_that_are_no_numbers_diverge(self) -> None:
        spoilt = Samples(torch.full((4, 1, 8, 8), float("nan")), torch.zeros(4).long())
        with pytest.raises(Diverged):
            dcgan.train(spoilt, 1, seed=4)

    def test_generated_images_come_nearer_to_the_real_ones(self) -> None:
        bright = Samples(torch.full((16, 1, 8, 8), 0.9), torch.zeros(16).long())

        def brightness(steps: int) -> float:
            return float(dcgan.draw(dcgan.train(bright, steps, seed=4), 50, rng()).mean())

        assert abs(brightness(0)) < 0.05
        assert brightness(80) > 0.2


def test_draws_follow_from_the_random_source() -> None:
    generator = dcgan.train(samples(), 1, seed=4)
    one, other, third = (dcgan.draw(generator, 4, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
