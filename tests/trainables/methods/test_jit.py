"""JiT: its loss on networks whose Lipschitz constant is known, its perturbations, its steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import batches_tracked, rng, state
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.methods.jit import JiT, lipschitz_loss
from trainables.models import catalogue

IMAGES = torch.rand(6, 1, 3, 3, generator=rng(1), dtype=torch.float64) * 2 - 1


class Scale(nn.Module):
    """Answers `factor` times the image, flat, and keeps what it is shown."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.detach())
        return self.factor * images.flatten(1)


def curved() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Flatten(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3)
        return nn.Sequential(*layers).double()


class TestLoss:
    """Eq. 7."""

    def test_a_constant_network_has_none(self) -> None:
        model = curved()
        with torch.no_grad():
            model[1].weight.zero_()
        assert lipschitz_loss(model, IMAGES, 0.3, 4, rng()).item() == 0

    @pytest.mark.parametrize("sigma", [1e-3, 0.3, 5.0])
    @pytest.mark.parametrize("factor", [2.5, -0.5])
    @pytest.mark.parametrize("perturbations", [1, 7])
    def test_a_linear_map_has_its_factor_once_per_image(
        self, sigma: float, factor: float, perturbations: int
    ) -> None:
        """A sum over images, a mean over perturbations, divided by the norm after clamping."""
        loss = lipschitz_loss(Scale(factor), IMAGES, sigma, perturbations, rng())
        assert loss.item() == pytest.approx(len(IMAGES) * abs(factor), rel=1e-9)

    def test_it_doubles_with_the_network(self) -> None:
        model = curved()
        once = lipschitz_loss(model, IMAGES, 0.3, 5, rng()).item()
        with torch.no_grad():
            for weight in model[3].parameters():
                weight.mul_(2)
        assert lipschitz_loss(model, IMAGES, 0.3, 5, rng()).item() == pytest.approx(2 * once)
        assert once > 0.1

    def test_it_is_the_mean_over_perturbations_of_fresh_noise(self) -> None:
        model, source = curved(), rng(3)
        single = [lipschitz_loss(model, IMAGES, 0.3, 1, source).item() for _ in range(3)]
        assert len(set(single)) == 3
        joint = lipschitz_loss(model, IMAGES, 0.3, 3, rng(3)).item()
        assert joint == pytest.approx(sum(single) / 3)

    def test_the_norms_are_euclidean_by_hand(self) -> None:
        """A network that answers the sum of the pixels and twice it."""

        class Sums(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                total = images.flatten(1).sum(1)
                return torch.stack([total, 2 * total], 1)

        shown = Scale(1.0)
        lipschitz_loss(shown, IMAGES, 0.3, 1, rng())
        shift = (shown.shown[1] - shown.shown[0]).flatten(1)
        expected = (5**0.5 * shift.sum(1).abs() / shift.square().sum(1).sqrt()).sum()
        loss = lipschitz_loss(Sums(), IMAGES, 0.3, 1, rng())
        assert loss.item() == pytest.approx(expected.item())

    def test_no_gradient_flows_through_the_perturbed_pass(self) -> None:
        model = Scale(2.0)
        lipschitz_loss(model, IMAGES, 0.3, 2, rng()).backward()
        clean, *perturbed = (images.flatten(1) for images in model.shown)
        # d/da ||a x - c|| / ||x - x'|| where c = 2 x' is held fixed and a = 2.
        shifts = [clean - images for images in perturbed]
        expected = sum(((s * clean).sum(1) / s.square().sum(1)).sum() for s in shifts) / 2
        assert model.factor.grad is not None
        assert model.factor.grad.item() == pytest.approx(float(expected))
        assert model.factor.grad.item() != pytest.approx(len(IMAGES)), "what both would give"

    def test_perturbed_images_stay_within_the_range_of_the_batch(self) -> None:
        model, images = Scale(1.0), IMAGES * 0.4 + 0.1
        lipschitz_loss(model, images, 1.0, 5, rng())
        for perturbed in model.shown[1:]:
            assert perturbed.min() == images.min()
            assert perturbed.max() == images.max()

    @pytest.mark.parametrize("sigma", [0.05, 0.8])
    def test_the_noise_has_the_deviation_sigma_and_no_mean(self, sigma: float) -> None:
        model, images = Scale(1.0), torch.zeros(50, 1, 10, 10, dtype=torch.float64)
        images[0, 0, 0, 0], images[0, 0, 0, 1] = -99.0, 99.0  # so wide that nothing is clamped
        lipschitz_loss(model, images, sigma, 4, rng())
        noise = torch.stack(model.shown[1:]) - images
        assert noise.std().item() == pytest.approx(sigma, rel=0.03)
        assert abs(noise.mean().item()) < 0.03 * sigma


def granted(forget: Samples) -> Granted:
    return Granted(JiT.needs, {Access.FORGET: lambda: forget}, (1,), 3, (1, 8, 8))


def test_it_smooths_the_model_around_the_forget_samples() -> None:
    model = curved()
    forget = Samples(IMAGES, torch.ones(6, dtype=torch.long))
    losses = [lipschitz_loss(model, IMAGES, 0.3, 50, rng(7)).item()]
    method = JiT(learning_rate=1e-2, perturbations=10, epochs=10, batch_size=3)
    losses += [
        lipschitz_loss(stepped, IMAGES, 0.3, 50, rng(7)).item()
        for stepped in method.unlearn(model, granted(forget), rng())
    ]
    assert len(losses) == 11, "yielded after each epoch"
    assert losses[10] < 0.8 * losses[0]
    assert losses[10] < losses[5] < losses[0]


def test_every_batch_is_one_step_of_adam_with_gradients_of_its_own() -> None:
    """By a loop of our own, which clears the gradients before each step."""
    forget = Samples(IMAGES, torch.ones(6, dtype=torch.long))
    method = JiT(learning_rate=1e-2, sigma=0.2, perturbations=3, epochs=2, batch_size=2)
    model, expected, source = curved(), curved(), rng(5)
    list(method.unlearn(model, granted(forget), rng(5)))
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-2)
    for _ in range(2):
        for images, _ in forget.batches(2, source):
            for weight in expected.parameters():
                weight.grad = None
            lipschitz_loss(expected, images, 0.2, 3, source).backward()
            optimizer.step()
    for name, weight in state(expected).items():
        torch.testing.assert_close(state(model)[name], weight)


def test_the_model_is_in_training_mode_in_every_pass() -> None:
    model = catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0).eval()
    images = torch.rand(8, 1, 8, 8, generator=rng(1))
    forget = Samples(images, torch.ones(8, dtype=torch.long))
    tracked = []
    method = JiT(perturbations=3, epochs=2, batch_size=4)
    for stepped in method.unlearn(model, granted(forget), rng()):
        tracked.append(batches_tracked(model))
        stepped.eval()
    assert tracked == [2 * (1 + 3), 4 * (1 + 3)]
