"""Supervised training: epochs, the loss that is told, divergence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.training.supervised import adam, check_finite, descend, fit


def linear(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def samples() -> Samples:
    """Fifty images of 2x2, separable by their mean."""
    images = torch.randn(50, 1, 2, 2, generator=rng(7))
    return Samples(images, (images.mean((1, 2, 3)) > 0).long())


def losses(
    model: nn.Module,
    samples: Samples,
    *,
    epochs: int = 1,
    learning_rate: float = 0.01,
    batch_size: int = 8,
    seed: int = 0,
) -> Iterator[float]:
    return fit(
        model,
        samples,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        rng=rng(seed),
    )


class TestFit:
    """Adam on cross-entropy."""

    def test_training_lowers_the_loss_epoch_by_epoch(self, samples: Samples) -> None:
        told = list(losses(linear(), samples, epochs=8))
        assert len(told) == 8
        assert told == sorted(told, reverse=True)
        assert told[-1] < told[0] / 1.5

    def test_it_works_only_as_far_as_it_is_asked(self, samples: Samples) -> None:
        once, lazily = linear(), linear()
        list(losses(once, samples, epochs=1))
        steps = losses(lazily, samples, epochs=5)
        assert same(state(lazily), state(linear())), "nothing may happen before the first epoch"
        next(steps)
        assert same(state(lazily), state(once))

    def test_the_loss_told_is_the_mean_over_samples_not_over_batches(
        self, samples: Samples
    ) -> None:
        # 50 samples in batches of 7 end in one of 8; at a rate of 0 the weights stay.
        model = linear()
        (told,) = losses(model, samples, learning_rate=0.0, batch_size=7)
        expected = functional.cross_entropy(model(samples.images), samples.labels)
        assert told == pytest.approx(expected.item(), rel=1e-5)
        unequal = Samples(samples.images[:9], samples.labels[:9])
        (told,) = losses(model, unequal, learning_rate=0.0, batch_size=6)
        expected = functional.cross_entropy(model(unequal.images), unequal.labels)
        assert told == pytest.approx(expected.item(), rel=1e-5)

    def test_the_first_step_is_adams(self, samples: Samples) -> None:
        model, copy = linear(), linear()
        functional.cross_entropy(copy(samples.images), samples.labels).backward()
        list(losses(model, samples, learning_rate=0.1, batch_size=50))
        for weight, before in zip(model.parameters(), copy.parameters(), strict=True):
            assert before.grad is not None
            step = 0.1 * before.grad / (before.grad.abs() + 1e-8)
            torch.testing.assert_close(weight, before - step)

    def test_the_seed_decides(self, samples: Samples) -> None:
        models = [linear() for _ in range(3)]
        for model, seed in zip(models, (1, 1, 2), strict=True):
            list(losses(model, samples, seed=seed))
        assert same(state(models[0]), state(models[1]))
        assert not same(state(models[0]), state(models[2]))

    def test_each_epoch_trains_even_if_the_model_was_looked_at(self, samples: Samples) -> None:
        model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2))
        for _ in losses(model, samples, epochs=2, batch_size=10):
            model.eval()
        assert batches_tracked(model) == 10

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_loss_that_is_not_finite_ends_it_before_the_step(self, value: float) -> None:
        model = linear()
        spoilt = Samples(torch.full((4, 1, 2, 2), value), torch.tensor([0, 1, 0, 1]))
        with pytest.raises(Diverged, match="loss became nan"):
            list(losses(model, spoilt))
        assert same(state(model), state(linear()))


def test_gradients_do_not_pile_up_from_step_to_step() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(3):
        descend(2 * weight, optimizer)
    assert weight.item() == pytest.approx(1 - 3 * 0.1 * 2)


class TestAdam:
    """PyTorch's plain Adam, whichever form it takes."""

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize(
        "settings",
        [{}, {"betas": (0.0, 0.9)}, {"weight_decay": 0.1}],
        ids=["plain", "betas", "weight decay"],
    )
    def test_it_gives_the_weights_of_the_plain_form(
        self, layout: torch.memory_format, settings: dict[str, Any]
    ) -> None:
        images = torch.randn(6, 2, 4, 4, generator=rng(1), dtype=torch.float64)
        ends = []
        for plain in (False, True):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                layers = (nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
                model = nn.Sequential(*layers).double().to(memory_format=layout)
            optimizer = (
                torch.optim.Adam(model.parameters(), lr=0.05, fused=False, **settings)
                if plain
                else adam(model.parameters(), 0.05, **settings)
            )
            for _ in range(5):
                descend(model(images).square().sum(), optimizer)
            ends.append(state(model))
        torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-9)


class TestCheckFinite:
    """Weights and running statistics that are no numbers."""

    @staticmethod
    def model() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))

    def test_finite_weights_pass_however_large(self) -> None:
        model = self.model()
        model.state_dict()["0.weight"].fill_(3e38)
        check_finite(model)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    @pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.weight", "1.running_var"])
    def test_one_value_is_enough(self, name: str, value: float) -> None:
        model = self.model()
        tensor: Tensor = model.state_dict()[name]
        tensor.view(-1)[-1] = value
        with pytest.raises(Diverged, match="weights became non-finite"):
            check_finite(model)
