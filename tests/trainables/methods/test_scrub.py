"""SCRUB: its two losses by hand, when each pass comes, and which way it moves the student."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from math import log

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import Witness, numbered, numbers, rng
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.methods import scrub
from trainables.methods.scrub import Scrub, disobedience, obedience
from trainables.models import catalogue
from trainables.training import passes
from trainables.training.losses import distillation
from trainables.training.supervised import descend

# Of a schedule whose optimiser is held still by a test.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")

FORWARD = 0.75 * log(3 / 2) + 0.25 * log(1 / 2)
"""KL((3/4, 1/4) || (1/2, 1/2)), nats."""
BACKWARD = 0.5 * log(2 / 3) + 0.5 * log(2)
"""The same with its arguments exchanged."""


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
    monkeypatch.setattr(passes, "descend", noted)
    return noted


def scrubbing(
    method: Scrub, student: nn.Module, forget: Samples, retain: Samples
) -> Iterator[nn.Module]:
    """`student` after each epoch."""
    return passes.run(method.scrub(student, forget, retain), student, rng())


def granted(forget: Samples, retain: Samples) -> Granted:
    sources = {Access.FORGET: lambda: forget, Access.RETAIN: lambda: retain}
    return Granted(Scrub.needs, sources, (0,), 3, (1, 8, 8))


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


class TestPureLosses:
    """The same two losses on plain logits; the teacher is `UP`, the student `EVEN`."""

    EVEN, UP = torch.tensor([[0.0, 0.0]]), torch.tensor([[log(3), 0.0]])

    def test_disobedience(self) -> None:
        assert disobedience(self.EVEN, self.UP, 1.0).item() == pytest.approx(-FORWARD)
        assert disobedience(self.EVEN, 2 * self.UP, 2.0).item() == pytest.approx(-4 * FORWARD)
        assert disobedience(self.UP, self.EVEN, 1.0).item() == pytest.approx(-BACKWARD)

    def test_obedience(self) -> None:
        label = torch.tensor([1])
        for alpha, gamma in ((0.3, 0.7), (1.0, 0.0), (0.0, 1.0)):
            loss = obedience(self.UP, 2 * self.EVEN, label, 1.0, alpha, gamma)
            assert loss.item() == pytest.approx(alpha * BACKWARD + gamma * log(4))
            loss = obedience(self.EVEN, 2 * self.UP, label, 2.0, alpha, gamma)
            assert loss.item() == pytest.approx(alpha * 4 * FORWARD + gamma * log(2))


class TestLosses:
    """The student is disturbed after the first epoch; the losses of the second are by hand."""

    def losses(
        self, still: Descents, method: Scrub, teacher: tuple[float, float], label: int
    ) -> list[float]:
        student = Bias(*teacher)
        epochs = scrubbing(method, student, blank(4, 0), blank(4, label))
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
        epochs = scrubbing(method, student, blank(4, 0), blank(4, 0))
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
            list(scrubbing(method, Bias(log(3), 0.0), blank(4, 0), blank(4, label)))
            assert still.losses[-1] == pytest.approx(expected)

    def test_the_teacher_is_the_original_in_evaluation_mode_throughout(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)
        images = torch.randn(12, 1, 8, 8, generator=rng(1))
        with torch.no_grad():
            expected = model.eval()(images)[:, 0].sort().values
        taught = []

        def note(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
            taught.append(teacher[:, 0].sort().values)
            return distillation(student, teacher, temperature)

        monkeypatch.setattr(scrub, "distillation", note)
        data = Samples(images, torch.zeros(12, dtype=torch.long))
        method = Scrub(learning_rate=0.1, epochs=2, max_steps=1)
        list(scrubbing(method, model.train(), data, data))
        assert len(taught) == 3
        for logits in taught:
            assert not logits.requires_grad
            torch.testing.assert_close(logits, expected)

    def test_the_teacher_is_shown_each_image_once_whatever_the_epochs(self) -> None:
        model = Witness()
        method = Scrub(epochs=4, max_steps=2, forget_batch_size=3, retain_batch_size=2)
        list(scrubbing(method, model, numbered(7), numbered(9, first=100)))
        assert model.copies == ["copy 1"]
        assert model.modes("copy 1") == {(False, False)}
        assert sorted(numbers(model.of("copy 1"))) == [*range(7), *range(100, 109)]

    def test_each_image_is_taught_the_teachers_answer_to_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taught: list[Tensor] = []

        def note(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
            taught.append(teacher)
            return distillation(student, teacher, temperature)

        monkeypatch.setattr(scrub, "distillation", note)
        model = Witness()
        method = Scrub(learning_rate=0.1, epochs=2, forget_batch_size=3, retain_batch_size=4)
        list(scrubbing(method, model, numbered(7), numbered(9, first=100)))
        original = Witness().eval()
        for images, answers in zip(model.of("model"), taught, strict=True):
            with torch.no_grad():
                torch.testing.assert_close(answers, original(images))


class TestEpochs:
    """Which pass comes when."""

    def test_the_forget_pass_leads_the_first_max_steps_epochs_only(self, still: Descents) -> None:
        model, access = Witness(), granted(numbered(6), numbered(6, first=100))
        method = Scrub(epochs=4, max_steps=2, forget_batch_size=3, retain_batch_size=2)
        seen = [len(model.of("model")) for _ in method.unlearn(model, access, rng())]
        assert seen == [5, 10, 13, 16], "yielded after each epoch"
        batches = model.of("model")
        sizes, retain = [3, 3, 2, 2, 2], [2, 2, 2]
        assert [len(images) for images in batches] == sizes + sizes + retain + retain
        forget, retain = list(range(6)), list(range(100, 106))
        orders = []
        for first, last, covered in (
            (0, 2, forget),
            (2, 5, retain),
            (5, 7, forget),
            (7, 10, retain),
            (10, 13, retain),
            (13, 16, retain),
        ):
            orders.append(numbers(batches[first:last]))
            assert sorted(orders[-1]) == covered, "each sample once"
        assert orders[0] != orders[2], "shuffled anew for each pass"
        assert len({tuple(orders[each]) for each in (1, 3, 4, 5)}) == 4
        assert len(still.losses) == 2 * 2 + 4 * 3, "every batch is one step"
        assert model.modes("model") == {(True, True)}

    def test_the_order_follows_from_the_random_source(self) -> None:
        orders = []
        for seed in (1, 1, 2):
            model, access = Witness(), granted(numbered(6), numbered(6, first=100))
            list(Scrub(epochs=2).unlearn(model, access, rng(seed)))
            orders.append(numbers(model.of("model")))
        assert orders[0] == orders[1] != orders[2]

    def test_the_rate_falls_tenfold_after_epochs_5_8_and_9(self, still: Descents) -> None:
        method = Scrub(learning_rate=0.5, epochs=10, max_steps=1, weight_decay=0.03)
        list(scrubbing(method, Bias(0.0, 0.0), blank(2, 0), blank(2, 0)))
        expected = [0.5] * 6 + [0.05] * 3 + [0.005, 0.0005]  # the first epoch has two passes
        assert still.rates == pytest.approx(expected)
        assert set(still.decays) == {0.03}

    def test_the_student_trains_in_training_mode_whatever_is_done_at_a_yield(self) -> None:
        model = catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)
        data = Samples(torch.rand(8, 1, 8, 8, generator=rng()), torch.arange(8) % 3)
        tracked = []
        for student in scrubbing(Scrub(epochs=3, max_steps=1), model, data, data):
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
        monkeypatch.setattr(passes, "descend", noted)
        method = Scrub(
            learning_rate=1e-3,
            alpha=0.0,
            gamma=0.0,
            max_steps=2,
            epochs=2,
            weight_decay=0.0,
            forget_batch_size=5,
        )
        epochs = scrubbing(method, student, forget, retain)
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
        epochs = scrubbing(method, student, forget, retain)
        next(epochs)
        disturb(student)
        before = distance(teacher(retain.images), student(retain.images))
        next(epochs)
        assert distance(teacher(retain.images), student(retain.images)) < 0.9 * before

    def test_the_min_epoch_with_labels_lowers_the_cross_entropy_on_the_retain_data(self) -> None:
        student, retain = linear(), some(2)
        before = functional.cross_entropy(student(retain.images), retain.labels)
        method = Scrub(learning_rate=1e-2, alpha=0.0, max_steps=1, epochs=3, retain_batch_size=5)
        list(scrubbing(method, student, some(1), retain))
        assert functional.cross_entropy(student(retain.images), retain.labels) < before - 0.01


def test_it_is_the_plain_loop_that_asks_the_teacher_in_each_step() -> None:
    """Alg. 2-4 as they are printed, with PyTorch's plain Adam, in double precision."""
    student, plain, original = (
        catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0).double() for _ in range(3)
    )
    images = torch.rand(62, 1, 8, 8, generator=rng(1), dtype=torch.float64) * 2 - 1
    labels = torch.arange(62) % 3
    forget, retain = Samples(images[:22], labels[:22]), Samples(images[22:], labels[22:])
    method = Scrub(
        learning_rate=1e-3,
        alpha=0.4,
        gamma=0.7,
        max_steps=2,
        epochs=7,
        temperature=2.0,
        forget_batch_size=8,
        retain_batch_size=16,
        weight_decay=0.01,
    )
    list(method.unlearn(student, granted(forget, retain), rng(5)))

    teacher, source = copy.deepcopy(plain).eval(), rng(5)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, weight_decay=0.01, fused=False)

    def divergence(images: Tensor, answered: Tensor) -> Tensor:
        with torch.no_grad():
            p: Tensor = (teacher(images) / 2.0).softmax(1)
        distances: Tensor = p * (p.log() - (answered / 2.0).log_softmax(1))
        return distances.sum(1).mean() * 2.0**2

    for epoch in range(7):
        plain.train()
        optimizer.param_groups[0]["lr"] = 1e-3 if epoch < 5 else 1e-4
        if epoch < 2:
            for rows in torch.randperm(22, generator=source).split(8):
                optimizer.zero_grad()
                away = divergence(forget.images[rows], plain(forget.images[rows]))
                (-away).backward()
                optimizer.step()
        for rows in torch.randperm(40, generator=source).split(16):
            optimizer.zero_grad()
            answered = plain(retain.images[rows])
            towards = divergence(retain.images[rows], answered)
            correctness = functional.cross_entropy(answered, retain.labels[rows])
            (0.4 * towards + 0.7 * correctness).backward()
            optimizer.step()

    torch.testing.assert_close(student.state_dict(), plain.state_dict(), rtol=1e-8, atol=1e-8)
    for moved, before in zip(student.parameters(), original.parameters(), strict=True):
        assert (moved - before).abs().max() > 1e-3
