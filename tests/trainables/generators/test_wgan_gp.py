"""WGAN-GP: the penalty by hand, which way each loss pushes, sizes and seeds."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.generators import dcgan, wgan_gp
from trainables.training.supervised import descend

SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (1, 5, 9)]


def samples(count: int = 8) -> Samples:
    images = torch.rand(count, 1, 8, 8, generator=rng(3)) * 2 - 1
    return Samples(images, torch.zeros(count, dtype=torch.int64))


def images(seed: int, count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=rng(seed)) * 2 - 1


def critic(width: float = 0.25) -> wgan_gp.Critic:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return wgan_gp.Critic((1, 8, 8), width)


def descend_once(loss: Tensor, model: nn.Module) -> None:
    descend(loss, torch.optim.SGD(model.parameters(), lr=0.01))


@pytest.mark.parametrize("shape", SHAPES)
def test_both_networks_fit_the_image(shape: tuple[int, int, int]) -> None:
    assert wgan_gp.Critic(shape)(torch.zeros(3, *shape)).shape == (3,)
    few = Samples(torch.zeros(4, *shape), torch.zeros(4).long())
    generator = wgan_gp.train(few, 1, seed=4, width=0.1)
    drawn = dcgan.draw(generator, 3, rng())
    assert drawn.shape == (3, *shape)
    assert drawn.abs().max() <= 1


class TestCritic:
    """DCGAN's discriminator without batch norm."""

    def test_it_has_the_discriminators_convolutions_and_no_batch_norm(self) -> None:
        def convolutions(model: nn.Module) -> list[tuple[object, ...]]:
            return [
                (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride)
                for layer in model.modules()
                if isinstance(layer, nn.Conv2d)
            ]

        one, other = wgan_gp.Critic((3, 32, 32)), dcgan.Discriminator((3, 32, 32))
        assert convolutions(one) == convolutions(other)
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in other.modules())
        assert not any("Norm" in type(layer).__name__ for layer in one.modules())

    def test_an_image_is_scored_alike_in_any_company(self) -> None:
        judge, batch = critic().train(), images(1)
        torch.testing.assert_close(judge(batch)[:1], judge(batch[:1]))

    def test_it_is_not_bound_to_be_homogeneous(self) -> None:
        judge, batch = critic(), images(1)
        with torch.no_grad():
            for name, parameter in judge.named_parameters():
                if name.endswith("bias"):
                    parameter.fill_(0.5)
        assert not torch.allclose(judge(2 * batch), 2 * judge(batch))


class TestPenalty:
    """Ten times the squared distance of the gradient's length from 1, between real and fake."""

    @pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0])
    def test_of_a_linear_critic(self, length: float) -> None:
        slope = torch.randn(1, 8, 8, generator=rng(5))
        slope *= length / slope.norm()
        found = wgan_gp.gradient_penalty(
            lambda x: (x * slope).sum(dim=(1, 2, 3)) + 7, images(1), images(2), rng()
        )
        assert found.item() == pytest.approx(10 * (length - 1) ** 2, abs=1e-4)

    def test_each_image_has_its_own_length(self) -> None:
        # Means over lengths or over pixels would give other numbers: lengths are 8 x (0 and 2).
        real = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
        found = wgan_gp.gradient_penalty(
            lambda x: x.square().sum(dim=(1, 2, 3)), real, real.clone(), rng()
        )
        assert found.item() == pytest.approx(10 * ((0 - 1) ** 2 + (16 - 1) ** 2) / 2, rel=1e-5)

    def test_it_looks_at_random_points_between(self) -> None:
        seen: list[Tensor] = []

        def spy(x: Tensor) -> Tensor:
            seen.append(x.detach())
            return x.sum(dim=(1, 2, 3))

        real, fake = torch.ones(500, 1, 8, 8), -torch.ones(500, 1, 8, 8)
        wgan_gp.gradient_penalty(spy, real, fake, rng())
        [points] = seen
        # One share per image, not per pixel, and uniform over the whole way.
        assert torch.equal(points, points[:, :1, :1, :1].expand_as(points))
        where = points[:, 0, 0, 0].sort().values
        torch.testing.assert_close(where, torch.linspace(-1, 1, 500), atol=0.12, rtol=0)

    def test_it_is_of_the_critics_own_gradient(self) -> None:
        judge, real, fake = critic().double(), images(1).double(), images(2).double()
        share = torch.rand(6, 1, 1, 1, generator=rng(9)).double()
        points = share * real + (1 - share) * fake

        def by_hand() -> float:
            rows = torch.autograd.functional.jacobian(judge, points)
            lengths = torch.stack([rows[i, i].norm() for i in range(6)])
            return float(10 * (lengths - 1).square().mean())

        loss = wgan_gp.gradient_penalty(judge, real, fake, rng(9))
        assert loss.item() == pytest.approx(by_hand(), rel=1e-6)
        # And its slope in a weight, which goes through the activations twice.
        loss.backward()
        weight = next(judge.parameters())
        assert weight.grad is not None
        with torch.no_grad():
            weight[0, 0, 1, 1] += 1e-6
            above = by_hand()
            weight[0, 0, 1, 1] -= 2e-6
            below = by_hand()
        assert weight.grad[0, 0, 1, 1].item() == pytest.approx((above - below) / 2e-6, rel=1e-3)


class TestLosses:
    """Which way each step pushes."""

    def test_they_are_the_papers_for_a_linear_critic(self) -> None:
        def brightness(x: Tensor) -> Tensor:
            return x.mean(dim=(1, 2, 3)) * 16  # a slope of 16 / 64 in 64 pixels: 2 long

        real, fake = torch.full((4, 1, 8, 8), 0.5), torch.full((4, 1, 8, 8), -0.25)
        loss = wgan_gp.critic_loss(brightness, real, fake, rng())
        assert loss.item() == pytest.approx(-4 - 8 + 10, rel=1e-5)
        assert wgan_gp.generator_loss(brightness, fake).item() == pytest.approx(4)

    def test_a_critic_step_widens_the_gap(self) -> None:
        judge, real, fake = critic(), images(1), images(2) - 1

        def gap() -> float:
            return float((judge(real).mean() - judge(fake).mean()).detach())

        before = gap()
        descend_once(wgan_gp.critic_loss(judge, real, fake, rng()), judge)
        assert gap() > before + 1e-6

    def test_a_generator_step_raises_the_score_of_fakes(self) -> None:
        judge = critic()
        with torch.no_grad():
            next(judge.parameters()).mul_(20)
        generator = dcgan.Generator((1, 8, 8), 0.25)
        noise = torch.randn(16, 100, generator=rng())
        before = judge(generator(noise)).mean().item()
        descend_once(wgan_gp.generator_loss(judge, generator(noise)), generator)
        assert judge(generator(noise)).mean().item() > before + 1e-6


class TestTraining:
    """A few steps on a few images."""

    def test_the_critic_takes_five_steps_before_each_of_the_generators(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        losses: list[str] = []
        fakes: list[Tensor] = []
        of_critic, of_generator = wgan_gp.critic_loss, wgan_gp.generator_loss

        def note_critic(
            judge: wgan_gp.Scorer, real: Tensor, fake: Tensor, source: torch.Generator
        ) -> Tensor:
            losses.append("c")
            assert not fake.requires_grad
            fakes.append(fake)
            assert isinstance(judge, nn.Module)
            assert all(parameter.requires_grad for parameter in judge.parameters())
            return of_critic(judge, real, fake, source)

        def note_generator(judge: wgan_gp.Scorer, fake: Tensor) -> Tensor:
            losses.append("g")
            assert fake.requires_grad
            return of_generator(judge, fake)

        monkeypatch.setattr(wgan_gp, "critic_loss", note_critic)
        monkeypatch.setattr(wgan_gp, "generator_loss", note_generator)
        generator = wgan_gp.train(samples(), 3, seed=4, width=0.1)
        assert "".join(losses) == "cccccg" * 3
        assert not any(torch.equal(a, b) for a, b in pairwise(fakes))
        assert batches_tracked(generator) == 18

    def test_adam_is_as_in_the_paper(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[torch.optim.Optimizer] = []

        class Spy(torch.optim.Adam):
            def __init__(self, *args: object, **kwargs: object) -> None:
                super().__init__(*args, **kwargs)  # type: ignore[arg-type]
                made.append(self)

        monkeypatch.setattr(torch.optim, "Adam", Spy)
        wgan_gp.train(samples(), 1, seed=4, width=0.1)
        assert [one.defaults["lr"] for one in made] == [1e-4] * 2
        assert [one.defaults["betas"] for one in made] == [(0.0, 0.9)] * 2

    def test_the_same_seed_gives_the_same_generator(self) -> None:
        one, other, third = (wgan_gp.train(samples(), 2, seed, 0.1) for seed in (4, 4, 5))
        assert same(state(one), state(other))
        assert not same(state(one), state(third))

    def test_the_global_random_state_neither_matters_nor_moves(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            one = wgan_gp.train(samples(), 2, 4, 0.1)
            torch.manual_seed(2)
            before = torch.get_rng_state()
            other = wgan_gp.train(samples(), 2, 4, 0.1)
            assert torch.equal(torch.get_rng_state(), before)
        assert same(state(one), state(other))

    def test_every_step_moves_every_weight_of_the_generator(self) -> None:
        untrained, once, twice = (wgan_gp.train(samples(), steps, 4, 0.1) for steps in (0, 1, 2))
        for before, after in ((untrained, once), (once, twice)):
            for first, second in zip(before.parameters(), after.parameters(), strict=True):
                assert not torch.equal(first, second)

    def test_it_ends_in_evaluation_mode(self) -> None:
        assert not wgan_gp.train(samples(), 1, 4, 0.1).training

    def test_two_images_are_enough(self) -> None:
        assert dcgan.draw(wgan_gp.train(samples(2), 1, 4), 3, rng()).shape == (3, 1, 8, 8)

    def test_images_that_are_no_numbers_diverge(self) -> None:
        spoilt = Samples(torch.full((4, 1, 8, 8), float("nan")), torch.zeros(4).long())
        with pytest.raises(Diverged):
            wgan_gp.train(spoilt, 1, 4)

    def test_generated_images_come_nearer_to_the_real_ones(self) -> None:
        bright = Samples(torch.full((16, 1, 8, 8), 0.9), torch.zeros(16).long())

        def brightness(steps: int) -> float:
            return float(dcgan.draw(wgan_gp.train(bright, steps, 4), 50, rng()).mean())

        assert abs(brightness(0)) < 0.05
        assert brightness(80) > 0.2
