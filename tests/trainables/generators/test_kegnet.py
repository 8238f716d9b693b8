"""KegNet: networks and losses by hand, and what an inversion changes and leaves alone."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import rng, same, state
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.generators import kegnet
from trainables.generators.kegnet import (
    Decoder,
    Generator,
    diversity_loss,
    draw,
    draw_inputs,
    invert,
    nearness_loss,
    normalised,
    statistics_loss,
)
from trainables.models.copies import clone
from trainables.scenario import Inversion
from trainables.workbench import Workbench

SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 20, 28)]
DIGITS = (1, 8, 8)
CLASSES = 3
FEW = Inversion(steps=3, batch_size=8)
CHEAP = Inversion(steps=100, batch_size=32, bn_weight=0.0)


def fresh(shape: tuple[int, int, int], output: str = "tanh", classes: int = CLASSES) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Generator(shape, classes, output).eval()


def transposed(generator: Generator) -> list[nn.ConvTranspose2d]:
    return [layer for layer in generator.modules() if isinstance(layer, nn.ConvTranspose2d)]


class TestNormalised:
    """Mean 0 and variance 1 of each channel of each image."""

    def test_by_hand(self) -> None:
        # Mean 4, variance (9 + 1 + 1 + 9) / 4 = 5.
        images = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
        expected = torch.tensor([[[[-3.0, -1.0], [1.0, 3.0]]]]) / 5**0.5
        torch.testing.assert_close(normalised(images), expected)

    def test_every_channel_of_every_image_stands_for_itself(self) -> None:
        scale = torch.tensor([[0.1, 1.0, 10.0], [100.0, 0.5, 2.0]])[:, :, None, None]
        found = normalised(torch.randn(2, 3, 5, 4, generator=rng()) * scale + 3 * scale)
        flat = found.flatten(2)
        torch.testing.assert_close(flat.mean(2), torch.zeros(2, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(flat.var(2, unbiased=False), torch.ones(2, 3))

    @pytest.mark.parametrize(("side", "apart"), [(8, 0.008), (32, 0.0005)])
    def test_the_authors_images_are_smaller_by_as_much_as_is_said(
        self, side: int, apart: float
    ) -> None:
        """They divide by the unbiased deviation."""
        images = torch.randn(3, 2, side, side, generator=rng(), dtype=torch.float64)
        flat = images.flatten(2)
        theirs = (flat - flat.mean(2, keepdim=True)) / flat.std(2, keepdim=True)
        ratio = theirs / normalised(images).flatten(2)
        torch.testing.assert_close(ratio, torch.full_like(ratio, (1 - 1 / side**2) ** 0.5))
        assert 1 - ratio.mean().item() == pytest.approx(apart, rel=0.05)

    def test_a_constant_channel_becomes_0(self) -> None:
        images = torch.randn(2, 2, 3, 3, generator=rng())
        images[0, 1] = 0.75
        found = normalised(images)
        assert torch.equal(found[0, 1], torch.zeros(3, 3))
        assert found[0, 0].std() > 0.9
        assert found[1, 1].std() > 0.9


class TestGenerator:
    """Shapes, ranges, and what the images hang on."""

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("output", ["tanh", "normalised"])
    def test_images_have_the_shape_asked_for(
        self, shape: tuple[int, int, int], output: str
    ) -> None:
        assert draw(fresh(shape, output), 5, rng()).shape == (5, *shape)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_even_extreme_activations_stay_in_range(self, shape: tuple[int, int, int]) -> None:
        generator = fresh(shape)
        with torch.no_grad():
            for weight in generator.parameters():
                weight.mul_(100)
        images = draw(generator, 5, rng())
        assert images.abs().max() <= 1
        assert images.max() > 0.99
        assert images.min() < -0.99

    @pytest.mark.parametrize("shape", SHAPES)
    def test_the_other_output_is_standardised_after_the_margin_is_cut(
        self, shape: tuple[int, int, int]
    ) -> None:
        flat = draw(fresh(shape, "normalised"), 5, rng()).flatten(2)
        channels = torch.zeros(5, shape[0])
        torch.testing.assert_close(flat.mean(2), channels, atol=1e-5, rtol=0)
        torch.testing.assert_close(flat.var(2, unbiased=False), channels + 1, atol=1e-3, rtol=0)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_at_32_pixels_the_channels_are_the_authors(self, channels: int) -> None:
        layers = transposed(fresh((channels, 32, 32)))
        assert [layer.in_channels for layer in layers] == [128, 64, 16, 4]
        assert [layer.out_channels for layer in layers] == [64, 16, 4, channels]
        assert [layer.stride for layer in layers] == [(2, 2)] * 4
        assert [layer.kernel_size for layer in layers] == [(4, 4)] * 4
        assert [layer.padding for layer in layers] == [(0, 0), (1, 1), (1, 1), (1, 1)]

    def test_the_noise_and_the_label_go_through_256_and_128_units(self) -> None:
        layers = [m for m in fresh(DIGITS, classes=7).modules() if isinstance(m, nn.Linear)]
        assert [(m.in_features, m.out_features) for m in layers] == [(10 + 7, 256), (256, 128)]

    def test_small_images_take_fewer_layers(self) -> None:
        assert [len(transposed(fresh(shape))) for shape in SHAPES] == [2, 4, 4, 4]

    def test_label_and_noise_both_matter(self) -> None:
        generator = fresh(DIGITS)
        noise, _ = draw_inputs(2, CLASSES, rng())
        same_noise = noise[:1].expand(CLASSES, -1)
        with torch.no_grad():
            by_label = generator(same_noise, torch.arange(CLASSES))
            by_noise = generator(noise, torch.zeros(2, dtype=torch.int64))
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert not torch.allclose(by_label[one], by_label[other], atol=1e-4)
        assert not torch.allclose(by_noise[0], by_noise[1], atol=1e-4)
        torch.testing.assert_close(by_noise[0], by_label[0], msg="same noise and label")


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_a_decoder_has_one_hidden_layer_more_than_asked_for(layers: int) -> None:
    decoder = Decoder(64, layers)
    hidden = [nn.Linear, nn.ELU, nn.BatchNorm1d] * (1 + layers)
    assert [type(part) for part in decoder] == [*hidden, nn.Linear]
    linear = [part for part in decoder if isinstance(part, nn.Linear)]
    sizes = [(part.in_features, part.out_features) for part in linear]
    assert sizes == [(64, 120), *[(120, 120)] * layers, (120, 10)]
    assert decoder(torch.zeros(4, 64)).shape == (4, 10)


class TestDiversity:
    """exp(mean over pairs of -d(noise) d(images))."""

    NOISE = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    IMAGES = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 0.5, 0.0]])

    def test_by_hand(self) -> None:
        # d(noise) = (1 + 9) / 2, d(images) = 2.5 / 4; two of four pairs are of a sample and itself.
        expected = exp(-2 * 5 * 0.625 / 4)
        assert diversity_loss(self.NOISE, self.IMAGES).item() == pytest.approx(expected)

    def test_of_several_generators_it_is_each_one_s_own(self) -> None:
        noise, images = (
            torch.randn(3, 5, 10, generator=rng()),
            torch.rand(3, 5, 9, generator=rng(1)),
        )
        own = [diversity_loss(*pair) for pair in zip(noise, images, strict=True)]
        torch.testing.assert_close(diversity_loss(noise, images), torch.stack(own))

    def test_it_falls_where_images_or_noises_move_apart(self) -> None:
        before = diversity_loss(self.NOISE, self.IMAGES)
        assert diversity_loss(self.NOISE, self.IMAGES * 2) < before
        assert diversity_loss(self.NOISE * 2, self.IMAGES) < before

    def test_it_is_1_where_all_noises_give_one_image(self) -> None:
        alike = torch.full((5, 4), 0.3, requires_grad=True)
        loss = diversity_loss(torch.randn(5, 2, generator=rng()), alike)
        assert loss.item() == 1
        loss.backward()
        assert alike.grad is not None
        assert alike.grad.isfinite().all()

    def test_descending_it_moves_images_apart(self) -> None:
        images = (torch.randn(6, 9, generator=rng()) / 10).requires_grad_()
        noise = torch.randn(6, 10, generator=rng(1))
        (gradient,) = torch.autograd.grad(diversity_loss(noise, images), images)
        moved = images.detach() - 0.1 * gradient / gradient.norm()

        def spread(batch: Tensor) -> float:
            return float(torch.cdist(batch, batch, p=1).mean())

        assert spread(moved) > spread(images.detach())


class TestStatistics:
    """The distance to what batch norms have seen in training."""

    def norm(self, mean: list[float], variance: list[float]) -> nn.BatchNorm2d:
        layer = nn.BatchNorm2d(len(mean)).eval()
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.copy_(torch.tensor(mean))
        layer.running_var.copy_(torch.tensor(variance))
        return layer

    def images(self, *channels: list[float]) -> Tensor:
        """Two images of one row, whose channels hold these values."""
        return torch.tensor(channels).view(len(channels), 2, 1, -1).transpose(0, 1)

    def test_by_hand(self) -> None:
        network = nn.Sequential(self.norm([0.5, -1.0], [2.0, 1.0]), nn.Flatten())
        # Channel means 3 and -1, (biased) variances 5 and 0.
        batch = self.images([0.0, 2.0, 4.0, 6.0], [-1.0, -1.0, -1.0, -1.0])
        with statistics_loss(network) as found:
            network(batch)
        # In units of the variances 2 and 1, the mean of two channels.
        first, second = 2.5**2 / 2 + (3 / 2) ** 2, 0 + 1
        expected = (first + second) / 2
        assert torch.stack(found).sum().item() == pytest.approx(expected, rel=1e-4)

    def test_all_images_of_a_batch_are_looked_at_together(self) -> None:
        network = self.norm([3.0], [5.0])
        with statistics_loss(network) as found:
            network(self.images([0.0, 2.0, 4.0, 6.0]))
        assert torch.stack(found).sum().item() == pytest.approx(0, abs=1e-9)

    def test_every_batch_norm_counts_with_its_own_input(self) -> None:
        first = self.norm([0.0], [1.0])
        with torch.no_grad():
            first.weight.fill_(2.0)
            first.bias.fill_(1.0)
        # What leaves the first has mean 2 * 3 + 1 and variance 4 * 5, nearly (eps). A mean of two.
        network = nn.Sequential(first, self.norm([6.0], [18.0]))
        with statistics_loss(network) as found:
            network(self.images([0.0, 2.0, 4.0, 6.0]))
        expected = (9 + 16 + 1 / 18 + (2 / 18) ** 2) / 2
        assert torch.stack(found).sum().item() == pytest.approx(expected, rel=1e-3)

    @pytest.mark.parametrize("scale", [0.02, 300.0])
    def test_a_layer_of_another_scale_is_as_far(self, scale: float) -> None:
        batch = self.images([0.0, 2.0, 4.0, 6.0], [-1.0, -3.0, -1.0, -1.0])
        found = []
        for factor in (1.0, scale):
            norm = self.norm([0.5 * factor, -1.0], [2.0 * factor**2, 1.0])
            shown = torch.cat([batch[:, :1] * factor, batch[:, 1:]], dim=1)
            with statistics_loss(norm) as distances:
                norm(shown)
            found.append(torch.stack(distances).sum().item())
        assert found[1] == pytest.approx(found[0], rel=0.05)  # but for eps at the smallest
        assert found[0] > 1

    def test_neither_channels_nor_layers_make_it_more(self) -> None:
        batch = self.images([0.0, 2.0, 4.0, 6.0])
        one = self.norm([0.5], [2.0])
        wide = self.norm([0.5] * 3, [2.0] * 3)
        silent = [nn.Identity(), nn.Identity()]
        found = []
        for network, shown in (
            (nn.Sequential(one, *silent), batch),
            (wide, batch.expand(-1, 3, -1, -1)),
            (nn.ModuleList([one, self.norm([0.5], [2.0])]), batch),
        ):
            with statistics_loss(network) as distances:
                if isinstance(network, nn.ModuleList):
                    for each in network:
                        each(shown)
                else:
                    network(shown)
            found.append(torch.stack(distances).sum().item())
        assert found == pytest.approx([found[0]] * 3)

    def test_the_images_learn_from_it(self) -> None:
        network = self.norm([0.0], [1.0])
        batch = self.images([0.0, 2.0, 4.0, 6.0]).clone().requires_grad_()
        with statistics_loss(network) as found:
            network(batch)
        torch.stack(found).sum().backward()
        assert batch.grad is not None
        # d/dx of mean^2 + (variance - 1)^2: 2 * 3 / 4 + 2 * (5 - 1) * 2 * (x - 3) / 4.
        expected = self.images([-10.5, -2.5, 5.5, 13.5])
        torch.testing.assert_close(batch.grad, expected, rtol=1e-4, atol=1e-4)

    def test_the_body_over_nothing_is_collected_and_no_hook_stays(self) -> None:
        network = nn.Sequential(self.norm([0.0], [1.0]), self.norm([0.0], [1.0]))
        before = state(network)
        with statistics_loss(network) as found:
            network(self.images([1.0, 2.0]))
        count = len(found)
        network(self.images([1.0, 2.0]))
        assert len(found) == count > 0
        with pytest.raises(ZeroDivisionError), statistics_loss(network):
            raise ZeroDivisionError
        assert not any(module._forward_pre_hooks for module in network.modules())
        assert same(before, state(network))


class TestNearness:
    """The distance to the few real samples."""

    EXAMPLES = Samples(
        torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, 0.0]]).view(3, 1, 1, 2),
        torch.tensor([0, 0, 1]),
    )

    def test_by_hand(self) -> None:
        images = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 9.0]]).view(3, 1, 1, 2)
        # To the nearest of its class 2 / 2; 4 / 2, although one of another class is nearer; none.
        loss = nearness_loss(images, torch.tensor([0, 1, 2]), self.EXAMPLES)
        assert loss.item() == pytest.approx((1 + 2 + 0) / 3)

    def test_examples_themselves_are_at_distance_0(self) -> None:
        order = torch.tensor([2, 0, 1, 1])
        chosen = self.EXAMPLES.where(order)
        loss = nearness_loss(chosen.images, chosen.labels, self.EXAMPLES)
        assert loss.item() == pytest.approx(0, abs=1e-6)

    def test_images_without_an_example_count_as_0_and_are_not_moved(self) -> None:
        images = torch.tensor([[0.0, 0.0], [9.0, 9.0]]).view(2, 1, 1, 2).requires_grad_()
        loss = nearness_loss(images, torch.tensor([0, 2]), self.EXAMPLES)
        loss.backward()
        assert loss.item() == pytest.approx(0.5)
        assert images.grad is not None
        # d/dx of (1 - x)^2 / 2 pixels / 2 images, for both pixels of the first.
        expected = torch.tensor([[-0.5, -0.5], [0.0, 0.0]]).view(2, 1, 1, 2)
        torch.testing.assert_close(images.grad, expected)
        assert nearness_loss(images, torch.tensor([2, 2]), self.EXAMPLES).item() == 0


@pytest.fixture(scope="module")
def base(bench: Workbench) -> nn.Module:
    """A copy of the session's base model, for it is shared."""
    return clone(bench.base)


@pytest.fixture(scope="module")
def inverted(base: nn.Module) -> Generator:
    return invert(base, DIGITS, CLASSES, CHEAP, seed=1)


def few(bench: Workbench) -> Samples:
    """Three real images of each class."""
    train = bench.dataset.train
    kept = [(train.labels == label).nonzero()[:3, 0] for label in range(CLASSES)]
    return train.where(torch.cat(kept))


def shown(generator: Generator, count: int = 600) -> Samples:
    """Images with the labels that were asked for."""
    noise, labels = draw_inputs(count, CLASSES, rng(9))
    with torch.no_grad():
        return Samples(generator(noise, labels), labels)


class TestInversion:
    """On a classifier that tells three real digits apart."""

    def test_images_are_classified_as_asked(self, base: nn.Module, inverted: Generator) -> None:
        found = shown(inverted)
        answers = base(found.images).argmax(1)
        for label in range(CLASSES):
            of_label = answers[found.labels == label]
            assert (of_label == label).float().mean() > 0.9
        untrained = shown(invert(base, DIGITS, CLASSES, replace(CHEAP, steps=0), seed=1))
        assert (base(untrained.images).argmax(1) == untrained.labels).float().mean() < 0.6

    def test_images_lie_where_the_classifier_s_do(
        self, base: nn.Module, inverted: Generator
    ) -> None:
        assert inverted.output == "tanh"
        assert shown(inverted).images.abs().max() <= 1
        other = invert(base, DIGITS, CLASSES, replace(FEW, output="normalised"), seed=1)
        flat = shown(other).images.flatten(1)
        torch.testing.assert_close(flat.std(1, unbiased=False), torch.ones(len(flat)))

    def test_it_ends_in_evaluation_mode_and_knows_its_classes(self, inverted: Generator) -> None:
        assert not any(module.training for module in inverted.modules())
        assert inverted.num_classes == CLASSES

    def test_the_classifier_is_left_as_it_was(self, base: nn.Module) -> None:
        model = clone(base)
        frozen = next(model.parameters()).requires_grad_(False)
        before = state(model)
        invert(model, DIGITS, CLASSES, replace(FEW, bn_weight=1.0), seed=1)
        assert same(before, state(model))
        assert not any(module.training for module in model.modules())
        for parameter in model.parameters():
            assert parameter.requires_grad is (parameter is not frozen)
            assert parameter.grad is None
        assert not any(module._forward_pre_hooks for module in model.modules())

    def test_the_same_seed_gives_the_same_generator(self, base: nn.Module) -> None:
        one, other, third = (invert(base, DIGITS, CLASSES, FEW, seed) for seed in (4, 4, 5))
        assert same(state(one), state(other))
        assert not same(state(one), state(third))
        begun = [invert(base, DIGITS, CLASSES, replace(FEW, steps=0), seed) for seed in (4, 5)]
        assert not same(state(begun[0]), state(begun[1])), "the first weights follow from it too"

    def test_the_global_random_state_neither_matters_nor_moves(self, base: nn.Module) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            one = invert(base, DIGITS, CLASSES, FEW, seed=4)
            torch.manual_seed(2)
            before = torch.get_rng_state()
            other = invert(base, DIGITS, CLASSES, FEW, seed=4)
            assert torch.equal(torch.get_rng_state(), before)
        assert same(state(one), state(other))

    @pytest.mark.parametrize(
        "change",
        [
            {"steps": 2},
            {"batch_size": 9},
            {"learning_rate": 2e-3},
            {"reconstruction_weight": 0.0},
            {"diversity_weight": 0.0},
            {"decoder_layers": 1},
            {"output": "normalised"},
            {"bn_weight": 0.5},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_every_setting_matters(self, base: nn.Module, change: dict[str, Any]) -> None:
        plain = invert(base, DIGITS, CLASSES, FEW, seed=4)
        other = invert(base, DIGITS, CLASSES, replace(FEW, **change), seed=4)
        assert not same(state(plain), state(other))

    @pytest.mark.parametrize("weight", ["reconstruction_weight", "diversity_weight", "bn_weight"])
    def test_every_weight_counts_by_its_size(self, base: nn.Module, weight: str) -> None:
        recipes = [replace(FEW, **{weight: value}) for value in (0.5, 2.0)]
        one, other = (invert(base, DIGITS, CLASSES, recipe, seed=4) for recipe in recipes)
        assert not same(state(one), state(other))

    def test_few_real_samples_count_with_their_weight_and_only_where_given(
        self, bench: Workbench, base: nn.Module
    ) -> None:
        heavy = replace(FEW, few_shot_weight=5.0)
        plain, weighed = (invert(base, DIGITS, CLASSES, how, 4) for how in (FEW, heavy))
        assert same(state(plain), state(weighed))
        aided = [invert(base, DIGITS, CLASSES, how, 4, few(bench)) for how in (FEW, heavy)]
        assert not same(state(plain), state(aided[0]))
        assert not same(state(aided[0]), state(aided[1]))

    def test_a_weight_on_statistics_brings_them_nearer_to_those_of_training(
        self, base: nn.Module, inverted: Generator
    ) -> None:
        def distance(generator: Generator) -> float:
            with statistics_loss(base) as found, torch.no_grad():
                base(shown(generator).images)
            return float(torch.stack(found).sum())

        matched = invert(base, DIGITS, CLASSES, replace(CHEAP, bn_weight=1.0), seed=1)
        assert distance(matched) < 0.5 * distance(inverted)

    def test_few_real_samples_bring_images_nearer_to_them(
        self, bench: Workbench, base: nn.Module, inverted: Generator
    ) -> None:
        examples = few(bench)

        def distance(generator: Generator) -> float:
            found = shown(generator)
            return float(nearness_loss(found.images, found.labels, examples))

        recipe = replace(CHEAP, few_shot_weight=10.0)
        aided = invert(base, DIGITS, CLASSES, recipe, seed=1, examples=examples)
        assert distance(aided) < 0.5 * distance(inverted)

    def test_a_classifier_without_numbers_diverges_and_is_left_as_it_was(
        self, base: nn.Module
    ) -> None:
        spoilt = clone(base)
        with torch.no_grad():
            spoilt.get_parameter("classifier.weight").fill_(float("nan"))
        with pytest.raises(Diverged):
            invert(spoilt, DIGITS, CLASSES, FEW, seed=1)
        assert all(parameter.requires_grad for parameter in spoilt.parameters())
        assert not any(module._forward_pre_hooks for module in spoilt.modules())


def test_inputs_are_standard_normal_noise_and_labels_of_all_classes_alike() -> None:
    noise, labels = draw_inputs(4_000, 4, rng())
    assert noise.shape == (4_000, kegnet.LATENT) == (4_000, 10)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    counts = torch.bincount(labels)
    assert len(counts) == 4
    assert counts.min() > 900


class Echo(nn.Module):
    """Shows its label in the first pixel and its noise in the second; notes how much it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 5
        self.sizes: list[int] = []

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        self.sizes.append(len(labels))
        return torch.stack([labels.to(noise.dtype), noise[:, 0]], 1)[:, None, None]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (8, [3, 3, 2])]
)
def test_draws_come_in_chunks_and_are_as_many_as_asked_for(count: int, sizes: list[int]) -> None:
    generator = Echo()
    images = draw(generator, count, rng(), chunk=3)  # type: ignore[arg-type]
    assert images.shape == (count, 1, 1, 2)
    assert generator.sizes == sizes
    assert len(images[:, 0, 0, 1].unique()) == count, "every chunk is of its own noise"


def test_draws_are_of_all_labels_and_follow_from_the_random_source() -> None:
    one, other, third = (draw(Echo(), 100, rng(seed)) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    assert one[:, 0, 0, 0].unique().tolist() == [0, 1, 2, 3, 4]


class TestEveryLossPullsItsWay:
    """What the losses beside the classifier's are for."""

    SHORT = Inversion(steps=40, batch_size=32, learning_rate=3e-3)

    def test_a_larger_weight_of_diversity_gives_more_diverse_images(self, base: nn.Module) -> None:
        def spread(weight: float) -> float:
            recipe = replace(self.SHORT, diversity_weight=weight, reconstruction_weight=0.0)
            found = shown(invert(base, DIGITS, CLASSES, recipe, seed=4))
            alike = [found.of((label,)).images.std(dim=0).mean() for label in range(CLASSES)]
            return float(torch.stack(alike).mean())

        assert spread(10.0) > 1.5 * spread(0.0)

    def test_the_decoder_learns_to_recover_the_noise(
        self, base: nn.Module, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decoders: list[Decoder] = []
        untrained: list[dict[str, Tensor]] = []

        def build(pixels: int, layers: int) -> Decoder:
            decoders.append(Decoder(pixels, layers))
            untrained.append({k: p.detach().clone() for k, p in decoders[-1].named_parameters()})
            return decoders[-1]

        monkeypatch.setattr(kegnet, "Decoder", build)
        recipe = replace(self.SHORT, reconstruction_weight=10.0, decoder_layers=1)
        generator = invert(base, DIGITS, CLASSES, recipe, seed=4)
        noise, labels = draw_inputs(300, CLASSES, rng(9))
        with torch.no_grad():
            decoded = decoders[0](generator(noise, labels).flatten(1))
        # A decoder that knows nothing answers 0 at best, which is 1 from standard normal noise.
        assert (decoded - noise).square().mean() < 0.85
        for name, weight in decoders[0].named_parameters():
            assert not torch.equal(weight, untrained[0][name]), "generator and decoder both learn"

    def test_the_seed_sets_the_batches_as_well_as_the_first_weights(
        self, base: nn.Module, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn: list[Tensor] = []

        def watch(count: int, num_classes: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
            drawn.append(draw_inputs(count, num_classes, source)[0])
            return drawn[-1], torch.zeros(count, dtype=torch.int64)

        monkeypatch.setattr(kegnet, "draw_inputs", watch)
        for seed in (4, 5):
            invert(base, DIGITS, CLASSES, replace(FEW, steps=1), seed)
        assert not torch.equal(*drawn)
        untrained = [invert(base, DIGITS, CLASSES, replace(FEW, steps=0), s) for s in (4, 5)]
        assert not same(*map(state, untrained))
