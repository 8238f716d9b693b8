"""Bad Teacher: its loss by hand, its two teachers, its mixture of data."""

from __future__ import annotations

import copy
from math import log

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import Witness, numbers, rng
from tests.trainables.toys import numbered as numbered_squares
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.methods import bad_teacher
from trainables.methods.bad_teacher import BadTeacher, bad_teacher_loss
from trainables.models import catalogue

EVEN = torch.tensor([[0.0, 0.0]])  # softmax: 1/2, 1/2
UP = torch.tensor([[log(3), 0.0]])  # 3/4, 1/4
DOWN = torch.tensor([[0.0, log(3)]])  # 1/4, 3/4
UP_EVEN = 0.75 * log(3 / 2) + 0.25 * log(1 / 2)  # KL(UP || EVEN) = 0.1308
EVEN_UP = 0.5 * log(2 / 3) + 0.5 * log(2)  # KL(EVEN || UP) = 0.1438
DOWN_UP = 0.5 * log(3)  # KL(DOWN || UP) = 0.5493


class TestLoss:
    """Student, competent and incompetent teacher by hand."""

    def test_a_forget_sample_is_taught_by_the_incompetent_teacher(self) -> None:
        loss = bad_teacher_loss(UP, EVEN, DOWN, torch.tensor([1]), 1.0)
        assert loss.item() == pytest.approx(DOWN_UP)

    def test_a_retain_sample_is_taught_by_the_competent_teacher(self) -> None:
        loss = bad_teacher_loss(EVEN, UP, DOWN, torch.tensor([0]), 1.0)
        assert loss.item() == pytest.approx(UP_EVEN)

    def test_the_expectation_is_over_the_teacher(self) -> None:
        loss = bad_teacher_loss(UP, EVEN, DOWN, torch.tensor([0]), 1.0)
        assert loss.item() == pytest.approx(EVEN_UP)
        assert EVEN_UP - UP_EVEN > 0.01

    def test_the_mean_is_over_the_batch_and_not_over_classes(self) -> None:
        student = torch.cat([UP, EVEN, UP])
        competent, incompetent = torch.cat([EVEN, UP, UP]), torch.cat([DOWN, DOWN, EVEN])
        loss = bad_teacher_loss(student, competent, incompetent, torch.tensor([1, 0, 0]), 1.0)
        assert loss.item() == pytest.approx((DOWN_UP + UP_EVEN) / 3)

    def test_the_temperature_softens_all_three_and_does_not_scale(self) -> None:
        for unlearn in (0, 1):
            flag = torch.tensor([unlearn])
            plain = bad_teacher_loss(UP, EVEN, DOWN, flag, 1.0)
            softened = bad_teacher_loss(3 * UP, 3 * EVEN, 3 * DOWN, flag, 3.0)
            assert softened.item() == pytest.approx(plain.item(), abs=1e-6)

    def test_the_student_alone_is_pulled_and_towards_its_teacher(self) -> None:
        student = EVEN.clone().requires_grad_()
        bad_teacher_loss(student, UP, DOWN, torch.tensor([1]), 1.0).backward()
        torch.testing.assert_close(student.grad, torch.tensor([[0.25, -0.25]]))


class Noting(nn.Module):
    """A linear model that keeps what it is shown; a copy keeps its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 3)
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.flatten().detach())
        return self.linear(images.flatten(1))  # type: ignore[no-any-return]


def noting() -> Noting:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Noting()


def granted(forget: Samples, retain: Samples) -> Granted:
    sources = {Access.FORGET: lambda: forget, Access.RETAIN: lambda: retain}
    return Granted(BadTeacher.needs, sources, (2,), 3, (1, 8, 8))


def numbered(numbers: range, label: int) -> Samples:
    images = torch.tensor(list(numbers), dtype=torch.float32).view(-1, 1, 1, 1) / 100
    return Samples(images, torch.full((len(images),), label))


FORGET, RETAIN = numbered(range(-10, 0), 2), numbered(range(1, 41), 0)


class Losses:
    """Notes what reaches the loss, batch by batch."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor, Tensor, Tensor, float]] = []

    def __call__(
        self, student: Tensor, good: Tensor, bad: Tensor, forget: Tensor, temperature: float
    ) -> Tensor:
        self.calls.append((student.detach(), good, bad, forget, temperature))
        return bad_teacher_loss(student, good, bad, forget, temperature)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    noted = Losses()
    monkeypatch.setattr(bad_teacher, "bad_teacher_loss", noted)
    return noted


class TestTeachers:
    """One is the original, the other never learned anything; neither learns on the way."""

    def test_the_competent_teacher_stays_the_original(self, losses: Losses) -> None:
        model = noting()
        method = BadTeacher(learning_rate=0.1, epochs=3, temperature=2.5)
        list(method.unlearn(model, granted(FORGET, RETAIN), rng()))
        assert len(model.shown) == len(losses.calls) == 3
        for images, (_, good, _, _, temperature) in zip(model.shown, losses.calls, strict=True):
            with torch.no_grad():
                torch.testing.assert_close(good, noting()(images[:, None]))
            assert temperature == 2.5

    def test_the_student_starts_as_the_original_and_learns(self, losses: Losses) -> None:
        list(
            BadTeacher(learning_rate=0.1, epochs=2).unlearn(
                noting(), granted(FORGET, RETAIN), rng()
            )
        )
        (first, good, *_), (later, later_good, *_) = losses.calls
        torch.testing.assert_close(first, good)
        assert not torch.allclose(later, later_good)

    def test_the_incompetent_teacher_is_random_and_fixed(self, losses: Losses) -> None:
        answers = []
        for seed in (1, 1, 2):
            model = noting()
            losses.calls.clear()
            list(
                BadTeacher(learning_rate=0.1, epochs=2).unlearn(
                    model, granted(FORGET, RETAIN), rng(seed)
                )
            )
            by_epoch = []
            for images, (_, good, bad, _, _) in zip(model.shown, losses.calls, strict=True):
                assert not torch.allclose(bad, good, atol=0.05), "not the original"
                by_epoch.append(dict(zip(images.tolist(), bad[:, 0].tolist(), strict=True)))
            # The same retain samples are taken in both epochs, so all images can be compared.
            assert by_epoch[0] == pytest.approx(by_epoch[1])
            answers.append([by_epoch[0][image] for image in FORGET.images.flatten().tolist()])
        assert answers[0] == answers[1]
        assert answers[0] != pytest.approx(answers[2], abs=0.01)

    def test_the_teachers_are_in_evaluation_mode(self, losses: Losses) -> None:
        """So that no image's answer hangs on the others of its batch."""
        model = catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)
        image = torch.rand(1, 1, 8, 8, generator=rng(1))
        others = torch.rand(8, 1, 8, 8, generator=rng(2)) * 5
        forget = Samples(image, torch.tensor([2]))
        retain = Samples(others, torch.zeros(8, dtype=torch.long))
        with torch.no_grad():
            expected = model.eval()(torch.cat([image, others]))[:, 0].sort().values
        list(BadTeacher(retain_fraction=1.0).unlearn(model.train(), granted(forget, retain), rng()))
        _, good, bad, _, _ = losses.calls[0]
        torch.testing.assert_close(good[:, 0].sort().values, expected)
        # A network in training mode would give a batch of these sizes unit variance; one with
        # fresh running statistics, in evaluation mode, hardly tells images apart.
        fresh = catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)
        catalogue.reinitialise(fresh, seed=rng().initial_seed())
        with torch.no_grad():
            expected = fresh.eval()(torch.cat([image, others]))[:, 0].sort().values
        torch.testing.assert_close(bad[:, 0].sort().values, expected)

    def test_each_is_shown_each_image_of_the_mixture_once_whatever_the_epochs(self) -> None:
        model = Witness()
        method = BadTeacher(epochs=3, retain_fraction=0.5, batch_size=4)
        mixture = granted(numbered_squares(6), numbered_squares(10, first=100))
        list(method.unlearn(model, mixture, rng()))
        assert model.copies == ["copy 1", "copy 2"]
        learnt = numbers(model.of("model"))
        assert len(learnt) == 3 * 11
        for teacher in model.copies:
            assert model.modes(teacher) == {(False, False)}
            assert sorted(numbers(model.of(teacher))) == sorted(set(learnt))
        assert len(set(learnt)) == 11


class TestData:
    """All of D_f and a part of D_r, shuffled together."""

    @pytest.mark.parametrize(("fraction", "count"), [(0.3, 12), (1.0, 40), (0.1, 4), (0.001, 1)])
    def test_the_share_of_the_retain_data_is_the_one_asked_for(
        self, losses: Losses, fraction: float, count: int
    ) -> None:
        model = noting()
        list(BadTeacher(retain_fraction=fraction).unlearn(model, granted(FORGET, RETAIN), rng()))
        (images,), ((_, _, _, unlearn, _),) = model.shown, losses.calls
        kept = images[images > 0].tolist()
        assert len(kept) == len(set(kept)) == count
        assert sorted(images[images < 0].tolist()) == FORGET.images.flatten().tolist()
        assert torch.equal(unlearn == 1, images < 0), "l_u is 1 for forget samples, 0 for others"
        assert unlearn.unique().tolist() == [0, 1]

    def test_the_part_is_drawn_at_random(self, losses: Losses) -> None:
        parts = []
        for seed in (1, 2):
            model = noting()
            list(BadTeacher().unlearn(model, granted(FORGET, RETAIN), rng(seed)))
            parts.append(sorted(model.shown[0][model.shown[0] > 0].tolist()))
        first = RETAIN.images.flatten()[:12].tolist()
        assert parts[0] != parts[1]
        assert first not in parts

    def test_batches_mix_both_and_the_model_is_yielded_after_each_epoch(
        self, losses: Losses
    ) -> None:
        model = noting()
        method = BadTeacher(retain_fraction=0.25, batch_size=10, epochs=3)
        steps = [len(model.shown) for _ in method.unlearn(model, granted(FORGET, RETAIN), rng(3))]
        assert steps == [2, 4, 6]
        assert all(0 < int(call[3].sum()) < 10 for call in losses.calls)


def test_the_student_comes_to_copy_each_teacher_on_its_data(losses: Losses) -> None:
    model = noting()
    method = BadTeacher(learning_rate=0.05, epochs=150, retain_fraction=1.0)
    forget, retain = numbered(range(-300, -200, 10), 2), numbered(range(200, 300, 5), 0)
    list(method.unlearn(model, granted(forget, retain), rng(5)))
    first = bad_teacher_loss(*losses.calls[0])
    last = bad_teacher_loss(*losses.calls[-1])
    assert last < 0.2 * first


def test_it_is_the_plain_loop_that_asks_both_teachers_in_each_step() -> None:
    """Eq. 9 with PyTorch's plain Adam, in double precision."""
    student, plain, original = (
        catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0).double() for _ in range(3)
    )
    images = torch.rand(62, 1, 8, 8, generator=rng(1), dtype=torch.float64) * 2 - 1
    labels = torch.arange(62) % 3
    forget, retain = Samples(images[:22], labels[:22]), Samples(images[22:], labels[22:])
    method = BadTeacher(
        learning_rate=1e-3, epochs=4, temperature=2.0, retain_fraction=0.5, batch_size=12
    )
    list(method.unlearn(student, granted(forget, retain), rng(5)))

    source = rng(5)
    good, bad = copy.deepcopy(plain).eval(), copy.deepcopy(plain).eval()
    catalogue.reinitialise(bad, seed=5)
    kept = torch.randperm(40, generator=source)[:20]
    mixed = torch.cat([forget.images, retain.images[kept]])
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=False)
    for _ in range(4):
        plain.train()
        for rows in torch.randperm(42, generator=source).split(12):
            optimizer.zero_grad()
            with torch.no_grad():
                taught = torch.where((rows < 22)[:, None], bad(mixed[rows]), good(mixed[rows]))
                p = (taught / 2.0).softmax(1)
            answered = (plain(mixed[rows]) / 2.0).log_softmax(1)
            (p * (p.log() - answered)).sum(1).mean().backward()
            optimizer.step()

    torch.testing.assert_close(student.state_dict(), plain.state_dict(), rtol=1e-8, atol=1e-8)
    for moved, before in zip(student.parameters(), original.parameters(), strict=True):
        assert (moved - before).abs().max() > 1e-3
