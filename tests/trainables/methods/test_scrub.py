"""SCRUB: its two losses by hand, when each pass comes, and which way it moves the student."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import rng
from trainables import models
from trainables.access import Access, Granted
from trainables.data import Samples
from trainables.methods import scrub
from trainables.methods.scrub import Scrub
from trainables.training import descend

# Of a schedule whose optimiser is held still by a test.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")

FORWARD = 0.75 * log(3 / 2) + 0.25 * log(1 / 2)
"""KL((3/4, 1/4) || (1/2, 1/2)), nats."""
BACKWARD = 0.5 * log(2 / 3) + 0.5 * log(2)
"""The same with its arguments exchanged."""


@dataclass(frozen=True)
class Watched(Samples):
    """Samples that note each pass over them."""

    name: str
    passes: list[tuple[str, int]]

    def batches(self, size: int, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes.append((self.name, size))
        yield from super().batches(size, rng)


class Bias(nn.Module):
    """Answers the same logits, its weights, to every image."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


class Descents:
    """Stands in for `descend`: notes each loss and rate, and steps only if it `steps`."""

    def __init__(self, steps: bool) -> None:
        self.steps = steps
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.decays: list[float] = []

    def __call__(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.losses.append(loss.item())
        (group,) = optimizer.param_groups
        self.rates.append(group["lr"])
        self.decays.append(group["weight_decay"])
        if self.steps:
            descend(loss, optimizer)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Descents:
    """Losses are noted; no weight moves."""
    noted = Descents(steps=False)
    monkeypatch.setattr(scrub, "descend", noted)
    return noted


def blank(count: int, label: int) -> Samples:
    return Samples(torch.zeros(count, 1, 1, 1), torch.full((count,), label))


def some(seed: int) -> Samples:
    images = torch.randn(40, 1, 2, 2, generator=rng(seed), dtype=torch.float64)
    return Samples(images, torch.randint(3, (40,), generator=rng(seed + 1)))


def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()


def distance(teacher: Tensor, student: Tensor) -> float:
    """KL(teacher || student) of logits, mean over samples."""
    p = functional.log_softmax(teacher.detach(), 1)
    q = functional.log_softmax(student.detach(), 1)
    return float((p.exp() * (p - q)).sum(1).mean())


@torch.no_grad()
def disturb(model: nn.Module, size: float = 0.3) -> None:
    source = rng(9)
    for weight in model.parameters():
        weight.add_(torch.randn(weight.shape, generator=source, dtype=weight.dtype) * size)


class TestLosses:
    """The student is disturbed after the first epoch; the losses of the second are by hand."""

    def losses(
        self, still: Descents, method: Scrub, teacher: tuple[float, float], label: int
    ) -> list[float]:
        student = Bias(*teacher)
        epochs = method.scrub(student, blank(4, 0), blank(4, label), rng())
        next(epochs)
        still.losses.clear()
        with torch.no_grad():
            student.logits.copy_(torch.zeros(2))
        next(epochs)
        return still.losses

    def test_both_losses_by_hand(self, still: Descents) -> None:
        method = Scrub(alpha=0.3, gamma=0.7, max_steps=2, epochs=2, temperature=1.0)
        away, towards = self.losses(still, method, (log(3), 0.0), label=1)
        assert away == pytest.approx(-FORWARD)
        assert towards == pytest.approx(0.3 * FORWARD + 0.7 * log(2))

    def test_the_expectation_is_over_the_teacher(self, still: Descents) -> None:
        """With a uniform teacher and a sure student the two directions differ."""
        student = Bias(0.0, 0.0)
        method = Scrub(alpha=1.0, gamma=0.0, max_steps=2, epochs=2, temperature=1.0)
        epochs = method.scrub(student, blank(4, 0), blank(4, 0), rng())
        next(epochs)
        with torch.no_grad():
            student.logits.copy_(torch.tensor([log(3), 0.0]))
        next(epochs)
        assert still.losses[-2:] == pytest.approx([-BACKWARD, BACKWARD])

    def test_the_temperature_softens_both_and_its_square_scales(self, still: Descents) -> None:
        method = Scrub(alpha=0.3, gamma=0.7, max_steps=2, epochs=2, temperature=2.0)
        away, towards = self.losses(still, method, (2 * log(3), 0.0), label=1)
        assert away == pytest.approx(-4 * FORWARD)
        assert towards == pytest.approx(0.3 * 4 * FORWARD + 0.7 * log(2)), "not on cross-entropy"

    def test_the_cross_entropy_is_with_the_labels(self, still: Descents) -> None:
        method = Scrub(alpha=0.0, gamma=1.0, max_steps=1, epochs=1)
        for label, expected in ((0, log(4 / 3)), (1, log(4))):
            list(method.scrub(Bias(log(3), 0.0), blank(4, 0), blank(4, label), rng()))
            assert still.losses[-1] == pytest.approx(expected)

    def test_the_teacher_is_the_original_in_evaluation_mode_throughout(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = models.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)
        images = torch.randn(12, 1, 8, 8, generator=rng(1))
        with torch.no_grad():
            expected = model.eval()(images)[:, 0].sort().values
        real, taught = scrub.distillation, []

        def note(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
            taught.append(teacher[:, 0].sort().values)
            return real(student, teacher, temperature)

        monkeypatch.setattr(scrub, "distillation", note)
        data = Samples(images, torch.zeros(12, dtype=torch.long))
        list(
            Scrub(learning_rate=0.1, epochs=2, max_steps=1).scrub(model.train(), data, data, rng())
        )
        assert len(taught) == 3
        for logits in taught:
            assert not logits.requires_grad
            torch.testing.assert_close(logits, expected)


class TestEpochs:
    """Which pass comes when."""

    def test_the_forget_pass_leads_the_first_max_steps_epochs_only(self, still: Descents) -> None:
        passes: list[tuple[str, int]] = []
        samples = blank(6, 0)
        forget = Watched(samples.images, samples.labels, "forget", passes)
        retain = Watched(samples.images, samples.labels, "retain", passes)
        access = Granted(
            Scrub.needs,
            {Access.FORGET: lambda: forget, Access.RETAIN: lambda: retain},
            (0,),
            2,
            (1, 8, 8),
        )
        method = Scrub(epochs=4, max_steps=2, forget_batch_size=3, retain_batch_size=2)
        seen = [len(passes) for _ in method.unlearn(Bias(0.0, 0.0), access, rng())]
        both = [("forget", 3), ("retain", 2)]
        assert passes == both + both + [("retain", 2), ("retain", 2)]
        assert seen == [2, 4, 5, 6], "yielded after each epoch"
        assert len(still.losses) == 2 * 2 + 4 * 3, "every batch is one step"

    def test_the_rate_falls_tenfold_after_epochs_5_8_and_9(self, still: Descents) -> None:
        method = Scrub(learning_rate=0.5, epochs=10, max_steps=1, weight_decay=0.03)
        list(method.scrub(Bias(0.0, 0.0), blank(2, 0), blank(2, 0), rng()))
        expected = [0.5] * 6 + [0.05] * 3 + [0.005, 0.0005]  # the first epoch has two passes
        assert still.rates == pytest.approx(expected)
        assert set(still.decays) == {0.03}

    def test_the_student_trains_in_training_mode_whatever_is_done_at_a_yield(self) -> None:
        model = models.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)
        data = Samples(torch.rand(8, 1, 8, 8, generator=rng()), torch.arange(8) % 3)
        tracked = []
        for student in Scrub(epochs=3, max_steps=1).scrub(model, data, data, rng()):
            norm = next(m for m in student.modules() if isinstance(m, nn.BatchNorm2d))
            tracked.append(int(norm.num_batches_tracked or 0))
            student.eval()
        assert tracked == [2, 3, 4]


class TestDirections:
    """Real steps on a linear model that is disturbed once the first epoch has left it alone."""

    def test_the_max_epoch_moves_the_student_away_on_the_forget_data(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        student, teacher, forget, retain = linear(), linear(), some(1), some(2)
        noted = Descents(steps=True)
        monkeypatch.setattr(scrub, "descend", noted)
        method = Scrub(
            learning_rate=1e-3,
            alpha=0.0,
            gamma=0.0,
            max_steps=2,
            epochs=2,
            weight_decay=0.0,
            forget_batch_size=5,
        )
        epochs = method.scrub(student, forget, retain, rng())
        next(epochs)
        disturb(student)
        before = distance(teacher(forget.images), student(forget.images))
        next(epochs)
        assert distance(teacher(forget.images), student(forget.images)) > 1.01 * before
        assert len(noted.losses) == 2 * (8 + 1)

    def test_the_min_epoch_without_labels_moves_the_student_back_on_the_retain_data(self) -> None:
        student, teacher, forget, retain = linear(), linear(), some(1), some(2)
        method = Scrub(
            learning_rate=1e-2,
            alpha=1.0,
            gamma=0.0,
            max_steps=1,
            epochs=2,
            weight_decay=0.0,
            retain_batch_size=5,
        )
        epochs = method.scrub(student, forget, retain, rng())
        next(epochs)
        disturb(student)
        before = distance(teacher(retain.images), student(retain.images))
        next(epochs)
        assert distance(teacher(retain.images), student(retain.images)) < 0.9 * before

    def test_the_min_epoch_with_labels_lowers_the_cross_entropy_on_the_retain_data(self) -> None:
        student, retain = linear(), some(2)
        before = functional.cross_entropy(student(retain.images), retain.labels)
        method = Scrub(learning_rate=1e-2, alpha=0.0, max_steps=1, epochs=3, retain_batch_size=5)
        list(method.scrub(student, some(1), retain, rng()))
        assert functional.cross_entropy(student(retain.images), retain.labels) < before - 0.01
