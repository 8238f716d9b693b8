"""UNSIR: the noise's loss by hand, what the noise does, what is trained on in which phase."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Literal, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.errors import InvalidRequest
from trainables.methods import make, unsir
from trainables.methods.unsir import NOISE_BATCH, Unsir, noise_loss
from trainables.models import catalogue
from trainables.training.supervised import adam, train_epoch
from trainables.workbench import Workbench

SHAPE = (1, 8, 8)


def base() -> nn.Module:
    return catalogue.build("allcnn", SHAPE, 3, 0.05, seed=0)


def linear(classes: int = 3) -> nn.Module:
    """A model that reacts to noise untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def error(model: nn.Module, images: Tensor, label: int) -> float:
    """Cross-entropy of `model`, in evaluation mode, on these images with this label."""
    with torch.no_grad():
        logits = model.eval()(images)
    return functional.cross_entropy(logits, torch.full((len(images),), label)).item()


class TestNoiseLoss:
    """Eq. 3 by hand."""

    LOGITS = torch.tensor([[log(3), 0.0], [0.0, 0.0]])  # softmax: 3/4, 1/4; 1/2, 1/2
    NOISE = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), -2.0)])

    def test_the_size_is_the_mean_over_images_of_the_summed_squares(self) -> None:
        loss = noise_loss(torch.zeros(2, 2), torch.tensor([0, 1]), self.NOISE, 0.5)
        assert loss.item() == pytest.approx(0.5 * (4 + 16) / 2 - log(2))

    def test_the_cross_entropy_with_the_forget_class_is_taken_off(self) -> None:
        nothing = torch.zeros_like(self.NOISE)
        for label, expected in ((0, log(4 / 3)), (1, log(4))):
            loss = noise_loss(self.LOGITS, torch.tensor([label, label]), nothing, 0.5)
            assert loss.item() == pytest.approx(-(expected + log(2)) / 2)


class TestNoise:
    """What `noise` makes."""

    def test_it_is_a_batch_of_images_that_starts_as_standard_normal(self) -> None:
        start = torch.randn(NOISE_BATCH, *SHAPE, generator=rng(4))
        noise = Unsir(noise_steps=1).noise(base(), 1, SHAPE, rng(4))
        assert noise.shape == (256, *SHAPE)
        assert not noise.requires_grad
        # Adam's first step moves every pixel by the rate.
        moved = (noise - start).abs()
        assert moved.max().item() == pytest.approx(0.1, abs=1e-4)
        assert moved.median().item() == pytest.approx(0.1, abs=1e-4)

    @pytest.mark.parametrize("label", [0, 2])
    def test_the_longer_it_is_made_the_more_the_model_errs_about_the_class(
        self, label: int
    ) -> None:
        model = linear()
        start = torch.randn(NOISE_BATCH, *SHAPE, generator=rng(4))
        errors = [error(model, start, label)]
        for steps in (5, 20):
            noise = Unsir(noise_steps=steps, noise_weight=1e-6).noise(model, label, SHAPE, rng(4))
            errors.append(error(model, noise, label))
        assert errors[0] < 0.95 * errors[1] < 0.95**2 * errors[2]

    @pytest.mark.parametrize("label", [0, 1, 2])
    def test_by_default_a_trained_model_errs_more_about_it_than_about_plain_noise(
        self, bench: Workbench, label: int
    ) -> None:
        start = torch.randn(NOISE_BATCH, *SHAPE, generator=rng(4))
        noise = Unsir().noise(bench.base, label, SHAPE, rng(4))
        assert error(bench.base, noise, label) > 1.2 * error(bench.base, start, label)

    def test_a_larger_weight_keeps_it_smaller(self) -> None:
        sizes = [
            Unsir(noise_steps=20, noise_weight=weight).noise(base(), 0, SHAPE, rng(4)).norm()
            for weight in (1e-6, 10.0)
        ]
        assert sizes[1] < 0.5 * sizes[0]

    def test_the_model_is_frozen(self) -> None:
        model = base().train()
        before = state(model)
        Unsir(noise_steps=3).noise(model, 1, SHAPE, rng())
        assert same(state(model), before), "neither weights nor running statistics change"
        assert all(weight.grad is None for weight in model.parameters())
        assert all(weight.requires_grad for weight in model.parameters()), "it is trained later"


@pytest.fixture
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_noise_is_that_of_the_published_loop_in_either_mode(mode: Literal["eval", "train"]) -> None:
    """Five times eight steps of plain Adam on -CE + 0.1 x the mean sum of squares."""
    model, expected = base().double(), base().double().train(mode == "train")
    found = Unsir(noise_mode=mode).noise(model, 2, SHAPE, rng(4))

    noise = torch.randn(256, *SHAPE, generator=rng(4)).requires_grad_()
    optimizer = torch.optim.Adam([noise], lr=0.1)
    for _ in range(5 * 8):
        logits = expected(noise)
        right = logits[:, 2] - logits.exp().sum(dim=1).log()
        (right.mean() + 0.1 * (noise**2).sum(dim=(1, 2, 3)).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(found, noise.detach(), rtol=0, atol=1e-9)
    for name, tensor in state(expected).items():
        torch.testing.assert_close(state(model)[name], tensor, rtol=0, atol=1e-9)


def test_noise_of_training_mode_moves_running_statistics_and_no_weight() -> None:
    model, before = base(), base()
    Unsir(noise_mode="train", noise_steps=3).noise(model, 1, SHAPE, rng())
    assert batches_tracked(model) == 3
    assert all(map(torch.equal, model.parameters(), before.parameters()))
    assert all(weight.grad is None for weight in model.parameters())
    assert all(weight.requires_grad for weight in model.parameters()), "it is trained later"


def test_noise_of_another_mode_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="noise_mode is 'training'; possible: eval, train"):
        make("unsir", {"noise_mode": "training"})
    assert make("unsir", {}) == Unsir(noise_mode="eval")


class Pass(NamedTuple):
    """One call of `train_epoch`."""

    samples: Samples
    batch_size: int
    learning_rate: float
    batch_norm: str


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Pass]:
    """What is trained on, noted; no weight moves."""
    noted: list[Pass] = []

    def note(
        model: nn.Module,
        samples: Samples,
        batch_size: int,
        optimizer: torch.optim.Optimizer,
        rng: torch.Generator,
        *,
        batch_norm: str,
    ) -> float:
        noted.append(Pass(samples, batch_size, optimizer.param_groups[0]["lr"], batch_norm))
        return 0.0

    monkeypatch.setattr(unsir, "train_epoch", note)
    return noted


def test_impairing_is_on_noise_and_retain_data_and_repairing_on_retain_data(
    passes: list[Pass], retain_only: Granted, retain_data: Samples
) -> None:
    method = Unsir(
        impair_learning_rate=0.3,
        repair_learning_rate=0.2,
        noise_steps=1,
        noise_batches=3,
        batch_size=7,
        batch_norm="frozen",
    )
    model = base()
    phases = [len(passes) for _ in method.unlearn(model, retain_only, rng(4))]
    assert phases == [1, 2], "yielded after each phase"
    impair, repair = passes
    assert (impair.batch_size, repair.batch_size) == (7, 7)
    assert (impair.learning_rate, repair.learning_rate) == (0.3, 0.2)
    assert impair.batch_norm == repair.batch_norm == "frozen"

    expected = Unsir(noise_steps=1).noise(model, 1, SHAPE, rng(4))
    noise = impair.samples.of((1,))
    assert torch.equal(noise.images, torch.cat([expected] * 3)), "labelled as the forget class"
    for samples in (impair.samples.without((1,)), repair.samples):
        assert len(samples) == 40
        assert sorted(samples.images[:, 0, 0, 0].tolist()) == sorted(
            retain_data.images[:, 0, 0, 0].tolist()
        )
    assert repair.samples.labels.unique().tolist() == [0, 2]


@pytest.mark.parametrize(("most", "expected"), [(5, [5, 0, 5]), (1, [1, 0, 1]), (99, [20, 0, 20])])
def test_so_many_retain_samples_per_class_keep_their_labels(
    passes: list[Pass], retain_only: Granted, retain_data: Samples, most: int, expected: list[int]
) -> None:
    method = Unsir(noise_steps=1, noise_batches=1, samples_per_class=most)
    list(method.unlearn(base(), retain_only, rng()))
    labels = dict(zip(retain_data.images[:, 0, 0, 0].tolist(), retain_data.labels, strict=True))
    kept = passes[1].samples
    assert torch.bincount(kept.labels, minlength=3).tolist() == expected
    pixels = kept.images[:, 0, 0, 0].tolist()
    assert len(set(pixels)) == len(pixels)
    assert [labels[pixel] for pixel in pixels] == kept.labels.tolist()


def test_the_retain_samples_are_drawn_at_random(
    passes: list[Pass], retain_only: Granted, retain_data: Samples
) -> None:
    method = Unsir(noise_steps=1, noise_batches=1, samples_per_class=5)
    for seed in (1, 1, 2):
        list(method.unlearn(base(), retain_only, rng(seed)))
    drawn = [set(one.samples.images[:, 0, 0, 0].tolist()) for one in passes[1::2]]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != set(retain_data.images[:10, 0, 0, 0].tolist())


def test_each_of_several_forget_classes_gets_noise_of_its_own_in_one_impairing(
    passes: list[Pass], retain_data: Samples
) -> None:
    access = Granted(
        frozenset({Access.RETAIN}), {Access.RETAIN: lambda: retain_data}, (3, 1), 4, (1, 8, 8)
    )
    model = linear(classes=4)
    list(Unsir(noise_steps=15, noise_weight=1e-6, noise_batches=2).unlearn(model, access, rng()))
    impair, repair = passes
    assert torch.bincount(impair.samples.labels).tolist() == [20, 512, 20, 512]
    assert torch.bincount(repair.samples.labels).tolist() == [20, 0, 20]
    for label, other in ((1, 3), (3, 1)):
        noise = impair.samples.of((label,)).images
        assert error(model, noise, label) > error(model, noise, other) + 0.05


def test_impairing_teaches_the_forget_label_on_noise_by_training_mode_steps(
    retain_only: Granted, retain_data: Samples
) -> None:
    model = base()
    method = Unsir(impair_learning_rate=1e-2, noise_steps=2, noise_batches=1, batch_size=64)
    steps = [batches_tracked(model) for _ in method.unlearn(model, retain_only, rng(4))]
    assert steps == [5, 6], "256 + 40 samples, then 40"

    expected, source = base(), rng(4)
    noise = method.noise(expected, 1, SHAPE, source)
    retain = unsir._at_most_per_class(retain_data, 1000, source)
    mixed = Samples(
        torch.cat([noise, retain.images]), torch.cat([torch.full((256,), 1), retain.labels])
    )
    for samples, rate in ((mixed, 1e-2), (retain, method.repair_learning_rate)):
        optimizer = adam(expected.parameters(), rate)
        train_epoch(expected, samples, 64, optimizer, source)
    assert same(state(model), state(expected))
