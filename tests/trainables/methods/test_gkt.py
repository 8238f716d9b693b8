"""GKT: gate, losses and attention by hand, which way each step goes, what is counted and when it
gives up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log, sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.access import Granted
from trainables.errors import AccessDenied, InvalidRequest, TooFewSamples
from trainables.generators.gkt import LATENT, Generator
from trainables.methods import gkt
from trainables.methods.gkt import (
    GKT,
    GRADIENT_NORM,
    PATIENCE,
    Players,
    attended,
    attention_loss,
    attention_map,
    gate,
)
from trainables.models import catalogue
from trainables.training.losses import distillation

SHAPE = (1, 8, 8)
OPEN = 1.0
"""A threshold that every image passes."""
SHORT = GKT(pseudo_batches=3, batch_size=8, student_steps=2, threshold=OPEN)


def allcnn(seed: int = 0) -> nn.Module:
    return catalogue.build("allcnn", SHAPE, 3, 0.05, seed).eval()


def lively(seed: int) -> nn.Module:
    """An untrained network whose answers hang on the image: its batch norms know such images."""
    model = allcnn(seed).train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model.get_parameter("classifier.weight").mul_(5)
        model(torch.randn(64, *SHAPE, generator=rng(seed)))
    return model.eval()


def granted(
    image_shape: tuple[int, int, int] = SHAPE,
    forget_classes: tuple[int, ...] = (2,),
    num_classes: int = 3,
) -> Granted:
    return Granted(GKT.needs, {}, forget_classes, num_classes, image_shape)


def unlearn(method: GKT, model: nn.Module | None = None, seed: int = 0) -> nn.Module:
    model = allcnn() if model is None else model
    *_, last = method.unlearn(model, granted(), rng(seed))
    assert last is model
    return model


def players(student: nn.Module, forget_classes: tuple[int, ...] = (2,)) -> Players:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        generator = Generator(SHAPE)
    teacher = lively(7).requires_grad_(False)
    return Players(teacher, student, generator, forget_classes)


def adam(network: nn.Module, rate: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=rate)


def noise(seed: int = 3, count: int = 16) -> Tensor:
    return torch.randn(count, LATENT, generator=rng(seed))


@torch.no_grad()
def divergence(cast: Players, images: Tensor) -> float:
    """KL(teacher || student) in nats, mean over the images, each network in the mode it is in."""
    p = functional.log_softmax(cast.teacher(images), dim=1)
    q = functional.log_softmax(cast.student(images), dim=1)
    return float((p.exp() * (p - q)).sum(dim=1).mean())


class TestGate:
    """By the teacher's probabilities alone."""

    PROBABILITIES = torch.tensor(
        [
            [0.90, 0.09, 0.01],
            [0.05, 0.94, 0.01],
            [0.04, 0.05, 0.91],
            [0.50, 0.50, 0.00],
            [0.04, 0.04, 0.92],
        ]
    )

    @pytest.mark.parametrize(
        ("forget_classes", "threshold", "expected"),
        [
            ((2,), 0.02, [1, 1, 0, 1, 0]),
            ((0,), 0.06, [0, 1, 1, 0, 1]),
            ((0, 1), 0.06, [0, 0, 1, 0, 1]),
            ((1, 0), 0.045, [0, 0, 0, 0, 1]),
            ((0, 1, 2), 0.06, [0, 0, 0, 0, 0]),
            ((0, 1, 2), 1.0, [1, 1, 1, 1, 1]),
        ],
    )
    def test_no_forget_class_may_exceed_the_threshold(
        self, forget_classes: tuple[int, ...], threshold: float, expected: list[int]
    ) -> None:
        passed = gate(self.PROBABILITIES.log() + 3, forget_classes, threshold)
        assert passed.int().tolist() == expected

    def test_a_probability_of_the_threshold_itself_passes(self) -> None:
        assert gate(torch.zeros(1, 4), (1,), 0.25).tolist() == [True]

    def test_neither_network_learns_from_what_does_not_pass(self) -> None:
        """The student is shown exactly the images that pass, at each kind of step."""
        student = allcnn(1).train()
        cast = players(student)
        images = cast.generator(noise()).detach()
        confidence = functional.softmax(cast.teacher(images), dim=1)[:, 2]
        middle = float(confidence.sort().values[6:8].mean())
        expected = images[confidence <= middle]
        assert len(expected) == 7
        shown: list[Tensor] = []
        student.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))
        method = replace(SHORT, threshold=middle)
        assert method.generator_step(cast, noise(), adam(cast.generator, 1e-12))
        assert method.teach(cast, noise(), adam(student)) is not None
        assert len(shown) == 1 + method.student_steps
        for seen in shown:
            torch.testing.assert_close(seen, expected)

    @pytest.mark.parametrize("passing", [0, 1])
    def test_too_few_images_leave_both_networks_alone(self, passing: int) -> None:
        cast = players(allcnn(1).train())
        confidence = functional.softmax(cast.teacher(cast.generator(noise())), dim=1)[:, 2]
        least, second = confidence.sort().values[:2].tolist()
        method = replace(SHORT, threshold=(least + second) / 2 if passing else least / 2)
        student, generator = state(cast.student), dict(cast.generator.named_parameters())
        before = {name: weight.detach().clone() for name, weight in generator.items()}
        assert not method.generator_step(cast, noise(), adam(cast.generator))
        assert method.teach(cast, noise(), adam(cast.student)) is None
        assert same(state(cast.student), student)
        assert same({name: weight.detach() for name, weight in generator.items()}, before)


class TestAttention:
    """By hand, on two channels of 1x2."""

    ONE = torch.tensor([[[[3.0, 0.0]], [[1.0, 2.0]]]])  # squares 9, 0 and 1, 4; means 5, 2
    OTHER = torch.tensor([[[[-1.0, 1.0]], [[1.0, -1.0]]]])  # means 1, 1

    def test_the_map_is_the_mean_square_over_channels_of_unit_length(self) -> None:
        expected = torch.tensor([[5.0, 2.0]]) / sqrt(29)
        torch.testing.assert_close(attention_map(self.ONE), expected)
        torch.testing.assert_close(attention_map(10 * self.ONE), expected)

    def test_each_image_has_a_map_of_its_own(self) -> None:
        both = attention_map(torch.cat([self.ONE, self.OTHER]))
        torch.testing.assert_close(both[0], attention_map(self.ONE)[0])
        torch.testing.assert_close(both[1], torch.tensor([1.0, 1.0]) / sqrt(2))

    def test_the_loss_sums_the_layers_mean_squared_differences(self) -> None:
        one, other = attention_map(self.ONE), attention_map(self.OTHER)
        layer = ((5 / sqrt(29) - 1 / sqrt(2)) ** 2 + (2 / sqrt(29) - 1 / sqrt(2)) ** 2) / 2
        assert attention_loss([one], [other]).item() == pytest.approx(layer)
        twice = attention_loss([one, one, other], [other, one, one])
        assert twice.item() == pytest.approx(2 * layer)

    def test_the_mean_is_over_images_too(self) -> None:
        one, other = attention_map(self.ONE), attention_map(self.OTHER)
        half = attention_loss([torch.cat([one, one])], [torch.cat([one, other])])
        assert half.item() == pytest.approx(attention_loss([one], [other]).item() / 2)

    def test_a_layer_without_any_activation_has_a_finite_gradient(self) -> None:
        silent = torch.zeros(1, 2, 1, 2, requires_grad=True)
        attention_loss([attention_map(silent)], [attention_map(self.ONE)]).backward()
        assert silent.grad is not None
        assert silent.grad.isfinite().all()

    @pytest.mark.parametrize(("name", "layers"), [("allcnn", 8), ("vgg16", 13), ("resnet9", 8)])
    def test_every_conv_block_has_a_map_of_what_it_gives_out(self, name: str, layers: int) -> None:
        model = catalogue.build(name, SHAPE, 3, 1.0, seed=0).eval()
        images = torch.randn(2, *SHAPE, generator=rng())
        with torch.no_grad():
            logits, maps = attended(model, images)
            torch.testing.assert_close(logits, model(images))
            # The first block by hand: convolution, batch norm, ReLU.
            convolution = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
            norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
            first = norm(convolution(images)).relu()
        assert len(maps) == layers
        torch.testing.assert_close(maps[0], attention_map(first))

    def test_no_hook_is_left_behind(self) -> None:
        model = allcnn()
        attended(model, torch.zeros(2, *SHAPE))
        with pytest.raises(RuntimeError):
            attended(model, torch.zeros(2, 5, 8, 8))
        assert not any(module._forward_hooks for module in model.modules())

    def test_identical_networks_have_none_and_no_gradient(self) -> None:
        images = torch.randn(4, *SHAPE, generator=rng())
        _, maps = attended(allcnn(), images)
        model = allcnn()
        _, own = attended(model, images)
        loss = attention_loss(own, [layer.detach() for layer in maps])
        assert loss.item() == 0
        loss.backward()
        for weight in model.parameters():
            assert weight.grad is None or not weight.grad.any()


class Noting:
    """Stands in for `descend`: notes the losses and moves no weight."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def __call__(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.losses.append(loss.item())


class Bias(nn.Module):
    """Answers the same logits, its weights, to every image; still the images bear on them."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits + 0 * images.flatten(1).sum(1, keepdim=True)


def test_the_authors_student_loss_is_ours_with_beta_times_the_classes_over_the_classes() -> None:
    """Their KL is a mean over classes too; in double precision, from the printed formula."""
    draws = rng()
    student, teacher = (torch.randn(5, 4, generator=draws, dtype=torch.float64) for _ in range(2))
    maps = [torch.randn(2, 5, 3, 6, 6, generator=draws, dtype=torch.float64) for _ in range(2)]
    published = 0.0
    for row in range(5):
        p, q = teacher[row].softmax(0), student[row].softmax(0)
        published += float((p * (p / q).log()).sum()) / (5 * 4)
    for own, theirs in zip(*maps, strict=True):
        drawn = []
        for activations in (own, theirs):
            flat = (activations**2).mean(1).view(5, 36)
            drawn.append(flat / (flat**2).sum(1, keepdim=True).sqrt())
        published += 250 * float(((drawn[0] - drawn[1]) ** 2).sum()) / (5 * 36)
    attention = attention_loss(*([attention_map(layer) for layer in each] for each in maps))
    ours = float(distillation(student, teacher) + 250 * 4 * attention)
    assert ours / 4 == pytest.approx(published, rel=1e-12)


class TestSteps:
    """Eq. 4 by hand, and the two directions."""

    FORWARD = 0.75 * log(3 / 2) + 0.25 * log(1 / 2)
    """KL((3/4, 1/4) || (1/2, 1/2)), nats; with its arguments exchanged 0.1438."""

    def test_the_expectation_is_over_the_teacher_and_the_mean_over_the_batch(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noted = Noting()
        monkeypatch.setattr(gkt, "descend", noted)
        cast = players(Bias(0.0, 0.0), forget_classes=(1,))
        cast = replace(cast, teacher=Bias(log(3), 0.0))
        method = replace(SHORT, beta=0.0, student_steps=1)
        assert method.generator_step(cast, noise(), adam(cast.generator))
        loss = method.teach(cast, noise(), adam(cast.student))
        assert noted.losses == pytest.approx([-self.FORWARD, self.FORWARD], abs=1e-6)
        assert loss is not None
        assert loss.item() == pytest.approx(self.FORWARD, abs=1e-6)

    def test_attention_is_weighted_by_beta(self, monkeypatch: pytest.MonkeyPatch) -> None:
        noted = Noting()
        monkeypatch.setattr(gkt, "descend", noted)
        cast = players(lively(1))
        for beta in (0.0, 1.0, 3.0):
            method = replace(SHORT, beta=beta, student_steps=1)
            method.teach(cast, noise(), adam(cast.student))
        none, once, thrice = noted.losses
        images = cast.generator(noise()).detach()
        expected = attention_loss(
            attended(cast.student, images)[1], attended(cast.teacher, images)[1]
        )
        assert none == pytest.approx(divergence(cast, images), rel=1e-4)
        assert once - none == pytest.approx(expected.item(), rel=1e-3)
        assert thrice - none == pytest.approx(3 * expected.item(), rel=1e-3)

    def test_the_generators_step_raises_the_divergence_and_moves_nothing_else(self) -> None:
        cast = players(lively(1))
        student, teacher = state(cast.student), state(cast.teacher)
        before = divergence(cast, cast.generator(noise()))
        for _ in range(5):
            assert SHORT.generator_step(cast, noise(), adam(cast.generator))
        assert divergence(cast, cast.generator(noise())) > 1.02 * before
        assert same(state(cast.student), student)
        assert same(state(cast.teacher), teacher)
        assert all(weight.requires_grad for weight in cast.student.parameters())
        assert all(weight.grad is None for weight in cast.student.parameters())

    def test_the_generator_is_taught_through_the_teacher_too(self) -> None:
        """The teacher's answer moves with the images; holding it fixed is another gradient."""
        cast = players(lively(1))
        optimizer = torch.optim.SGD(cast.generator.parameters(), lr=0.0)
        assert SHORT.generator_step(cast, noise(), optimizer)
        assert cast.generator.head.weight.grad is not None
        found = cast.generator.head.weight.grad.clone()

        images = cast.generator(noise())
        p = functional.log_softmax(cast.teacher(images), dim=1)
        q = functional.log_softmax(cast.student(images), dim=1)
        (whole,) = torch.autograd.grad(
            -(p.exp() * (p - q)).sum(dim=1).mean(), cast.generator.head.weight, retain_graph=True
        )
        p = p.detach()
        (half,) = torch.autograd.grad(
            -(p.exp() * (p - q)).sum(dim=1).mean(), cast.generator.head.weight
        )
        size = whole.norm().item()
        assert (found - whole).norm().item() < 1e-3 * size
        assert (half - whole).norm().item() > 0.1 * size

    @pytest.mark.parametrize("beta", [0.0, 10.0])
    def test_the_students_steps_lower_the_divergence_and_move_nothing_else(
        self, beta: float
    ) -> None:
        cast = players(lively(1))
        teacher = state(cast.teacher)
        weights = [weight.detach().clone() for weight in cast.generator.parameters()]
        images = cast.generator(noise()).detach()
        before = divergence(cast, images)
        method = replace(SHORT, beta=beta, student_steps=10)
        assert method.teach(cast, noise(), adam(cast.student)) is not None
        assert divergence(cast, images) < 0.98 * before
        assert same(state(cast.teacher), teacher)
        for weight, was in zip(cast.generator.parameters(), weights, strict=True):
            assert torch.equal(weight, was)

    def test_the_student_learns_attention_from_beta_alone(self) -> None:
        """With a weight that drowns the divergence the maps come nearer to the teacher's."""
        cast = players(lively(1))
        images = cast.generator(noise()).detach()

        def apart() -> float:
            _, own = attended(cast.student, images)
            return attention_loss(own, attended(cast.teacher, images)[1]).item()

        before = apart()
        replace(SHORT, beta=1e4, student_steps=10).teach(cast, noise(), adam(cast.student))
        assert apart() < 0.9 * before


def scripted(
    monkeypatch: pytest.MonkeyPatch, passes: Callable[[int], bool]
) -> list[tuple[str, bool]]:
    """The gate lets everything or nothing pass, by the number of the round from 0 and whatever
    the images; both kinds of steps move nothing. Returns the list of what was tried."""
    tried: list[tuple[str, bool]] = []

    def generator_step(_self: GKT, cast: Players, *_: object) -> bool:
        with torch.no_grad():  # a step that can be recognised
            for weight in cast.generator.parameters():
                weight.add_(1.0)
        tried.append(("generator", passed := passes(len(tried))))
        return passed

    monkeypatch.setattr(GKT, "generator_step", generator_step)
    return tried


class TestBudget:
    """What is counted, and when the student is shown."""

    @pytest.mark.parametrize(("budget", "yields"), [(1, 1), (7, 7), (10, 10), (25, 10), (40, 10)])
    def test_the_student_is_yielded_after_each_tenth(
        self, monkeypatch: pytest.MonkeyPatch, budget: int, yields: int
    ) -> None:
        taught: list[bool] = []

        def teach(*_: object) -> Tensor:
            taught.append(True)
            return torch.tensor(1.0)

        monkeypatch.setattr(GKT, "teach", teach)
        scripted(monkeypatch, lambda _: True)
        method = replace(SHORT, pseudo_batches=budget)
        seen = [len(taught) for _ in method.unlearn(allcnn(), granted(), rng())]
        assert len(seen) == yields
        assert seen[-1] == len(taught) == budget
        gaps = [later - earlier for earlier, later in zip([0, *seen], seen, strict=False)]
        assert max(gaps) - min(gaps) <= 1

    def test_a_pseudo_batch_is_one_step_of_the_generator_and_some_of_the_student(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[tuple[int, float]] = []

        def note(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
            steps.append(
                (len(optimizer.param_groups[0]["params"]), optimizer.param_groups[0]["lr"])
            )

        monkeypatch.setattr(gkt, "descend", note)
        method = replace(SHORT, student_learning_rate=0.25, generator_learning_rate=0.5)
        unlearn(replace(method, pseudo_batches=2, student_steps=3))
        assert [rate for _, rate in steps] == [0.5, 0.25, 0.25, 0.25] * 2
        assert steps[0][0] == len(list(Generator(SHAPE).parameters()))
        assert steps[1][0] == len(list(allcnn().parameters()))

    def test_both_kinds_of_step_see_the_same_noise_and_each_round_draws_its_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn: list[Tensor] = []
        forward = Generator.forward

        def note(self: Generator, noise: Tensor) -> Tensor:
            drawn.append(noise)
            return forward(self, noise)

        monkeypatch.setattr(Generator, "forward", note)
        unlearn(replace(SHORT, pseudo_batches=2))
        assert len(drawn) == 4
        assert drawn[0].shape == (SHORT.batch_size, LATENT)
        assert torch.equal(drawn[0], drawn[1])
        assert torch.equal(drawn[2], drawn[3])
        assert not torch.equal(drawn[0], drawn[2])

    def test_the_student_learns_in_training_mode_whatever_is_done_at_a_yield(self) -> None:
        method = replace(SHORT, pseudo_batches=10)
        tracked = []
        for student in method.unlearn(allcnn(), granted(), rng()):
            tracked.append(batches_tracked(student))
            student.eval()
        each = 1 + method.student_steps
        assert tracked == [each * (index + 1) for index in range(10)]

    def test_a_plateau_of_the_synthetic_loss_halves_both_rates(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Looks are at the mean of the last 50 losses. The second sets the best; the third look
        after it without a gain halves."""
        rates: list[tuple[float, float]] = []

        def generator_step(*args: object) -> bool:
            rates.append((args[3].param_groups[0]["lr"], 0.0))  # type: ignore[attr-defined]
            return True

        def teach(*args: object) -> Tensor:
            rates[-1] = (rates[-1][0], args[3].param_groups[0]["lr"])  # type: ignore[attr-defined]
            window = (len(rates) - 1) // 50
            return torch.tensor([4.0, 1.0, 2.0, 2.0, 2.0, 2.0][window])

        monkeypatch.setattr(GKT, "generator_step", generator_step)
        monkeypatch.setattr(GKT, "teach", teach)
        method = GKT(pseudo_batches=260, student_learning_rate=0.2, generator_learning_rate=0.4)
        unlearn(method)
        assert rates == [(0.4, 0.2)] * 250 + [(0.2, 0.1)] * 10


class TestClosedGate:
    """Draws in vain: counted, recovered from, and given up on."""

    def test_a_gate_that_nothing_passes_ends_in_a_clear_error(self) -> None:
        method = replace(SHORT, threshold=1e-30)
        with pytest.raises(TooFewSamples) as caught:
            unlearn(method)
        said = str(caught.value)
        assert len(said.splitlines()) == 1
        assert "after 0 pseudo-batches" in said
        assert "raise threshold" in said

    def test_a_gate_that_never_opened_is_given_up_after_100_draws(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = scripted(monkeypatch, lambda _: False)
        with pytest.raises(TooFewSamples):
            unlearn(SHORT)
        assert len(tried) == PATIENCE == 100

    def test_draws_in_vain_are_not_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = scripted(monkeypatch, lambda number: number % PATIENCE == PATIENCE - 1)
        monkeypatch.setattr(GKT, "teach", lambda *_: torch.tensor(1.0))
        unlearn(replace(SHORT, pseudo_batches=3))
        assert len(tried) == 3 * PATIENCE

    def test_what_the_student_could_not_learn_from_is_in_vain_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = scripted(monkeypatch, lambda _: True)
        monkeypatch.setattr(GKT, "teach", lambda *_: None)
        with pytest.raises(TooFewSamples):
            unlearn(SHORT)
        assert len(tried) == PATIENCE

    def test_the_generator_goes_back_to_where_a_batch_last_passed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each try adds 1 to the weights of the generator. Tries 0 and 1 pass, 2 to 101 do not,
        102 does: at it the weights are those after try 1, and one step."""
        firsts: list[float] = []
        scripted(monkeypatch, lambda number: not 2 <= number <= 101)

        def teach(_self: GKT, cast: Players, *_: object) -> Tensor:
            firsts.append(cast.generator.head.weight[0, 0].item())
            return torch.tensor(1.0)

        monkeypatch.setattr(GKT, "teach", teach)
        unlearn(replace(SHORT, pseudo_batches=4))
        start = firsts[0] - 1
        assert [first - start for first in firsts] == pytest.approx([1, 2, 3, 4], abs=1e-3)

    def test_without_a_full_hundred_it_does_not_go_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        firsts: list[float] = []
        scripted(monkeypatch, lambda number: not 2 <= number <= 100)

        def teach(_self: GKT, cast: Players, *_: object) -> Tensor:
            firsts.append(cast.generator.head.weight[0, 0].item())
            return torch.tensor(1.0)

        monkeypatch.setattr(GKT, "teach", teach)
        unlearn(replace(SHORT, pseudo_batches=3))
        assert [first - firsts[0] for first in firsts] == pytest.approx([0, 1, 101], abs=1e-3)

    def test_going_back_is_tried_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = scripted(monkeypatch, lambda number: number < 2)
        monkeypatch.setattr(GKT, "teach", lambda *_: torch.tensor(1.0))
        with pytest.raises(TooFewSamples, match="after 2 pseudo-batches"):
            unlearn(SHORT)
        assert len(tried) == 2 + 2 * PATIENCE


class TestNetworks:
    """Teacher, student, generator: how they start and what becomes of them."""

    def cast(self, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> tuple[Players, nn.Module]:
        """The players of a real run, and its result."""
        seen: list[Players] = []
        step = GKT.generator_step

        def note(self: GKT, cast: Players, *rest: Tensor) -> bool:
            seen.append(cast)
            return step(self, cast, *rest)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(GKT, "generator_step", note)
            model = unlearn(SHORT, allcnn().train(), seed)
        assert all(cast is seen[0] for cast in seen)
        return seen[0], model

    def test_the_teacher_stays_the_original_in_evaluation_mode(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cast, model = self.cast(monkeypatch)
        assert same(state(cast.teacher), state(allcnn()))
        assert not any(module.training for module in cast.teacher.modules())
        assert cast.student is model
        assert all(weight.requires_grad for weight in model.parameters())

    def test_the_student_starts_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of the original's weights, nor of its batch-norm statistics, is in it."""
        original = allcnn()
        norm = next(m for m in original.modules() if isinstance(m, nn.BatchNorm2d))
        assert norm.running_mean is not None
        norm.running_mean.fill_(9.0)
        starts: list[dict[str, Tensor]] = []
        for seed in (1, 1, 2):

            def note(_self: GKT, cast: Players, *_: object) -> bool:
                starts.append(state(cast.student))
                raise TooFewSamples("enough")

            monkeypatch.setattr(GKT, "generator_step", note)
            with pytest.raises(TooFewSamples, match="enough"):
                unlearn(SHORT, original, seed)
        assert same(starts[0], starts[1])
        assert not same(starts[0], starts[2])
        weight = "features.0.0.weight"
        assert not torch.allclose(starts[0][weight], state(allcnn())[weight], atol=1e-3)
        assert not starts[0]["features.0.1.running_mean"].any()

    def test_gradients_are_clipped_before_the_step(self) -> None:
        model = nn.Linear(2, 1, bias=False)
        optimizer = gkt._clipped_adam(model, 0.5)
        for size, expected in ((100.0, GRADIENT_NORM), (0.5, 0.5)):
            optimizer.zero_grad()
            (model(torch.tensor([[0.6, 0.8]])) * size).sum().backward()
            optimizer.step()
            assert model.weight.grad is not None
            assert model.weight.grad.norm().item() == pytest.approx(expected, rel=1e-4)
        assert GRADIENT_NORM == 5
        assert isinstance(optimizer, torch.optim.Adam)

    def test_both_optimizers_clip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clipped: list[int] = []
        real = nn.utils.clip_grad_norm_

        def note(weights: object, norm: float) -> Tensor:
            assert norm == GRADIENT_NORM
            weights = list(weights)  # type: ignore[call-overload]
            clipped.append(len(weights))
            return real(weights, norm)

        monkeypatch.setattr(nn.utils, "clip_grad_norm_", note)
        unlearn(replace(SHORT, pseudo_batches=1))
        generator, student = (
            len(list(Generator(SHAPE).parameters())),
            len(list(allcnn().parameters())),
        )
        assert clipped == [generator] + [student] * SHORT.student_steps

    def test_the_same_seed_gives_the_same_student_bit_for_bit(self) -> None:
        first, again, other = (state(unlearn(SHORT, seed=seed)) for seed in (1, 1, 2))
        assert same(first, again)
        assert not same(first, other)

    def test_the_global_random_state_is_left_alone(self) -> None:
        before = torch.get_rng_state()
        unlearn(SHORT)
        assert torch.equal(torch.get_rng_state(), before)

    def test_no_data_can_be_reached(self) -> None:
        assert GKT().needs == frozenset()
        with pytest.raises(AccessDenied):
            _ = granted().retain


@pytest.mark.parametrize("name", catalogue.MODELS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28)])
def test_it_works_for_every_model_and_size(name: str, shape: tuple[int, int, int]) -> None:
    width = 0.1 if name == "allcnn" else 1.0
    model = catalogue.build(name, shape, 4, width, seed=0)
    method = GKT(pseudo_batches=1, batch_size=2, student_steps=1, threshold=OPEN)
    before = state(model)
    *_, student = method.unlearn(model, granted(shape, (1, 3), 4), rng())
    assert not same(state(student), before)
    assert all(value.isfinite().all() for value in state(student).values())


class TestGenerator:
    """The authors' network, cut to the image."""

    @pytest.mark.parametrize(
        "shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (1, 5, 9), (2, 30, 33), (1, 1, 1)]
    )
    def test_images_have_the_shape_asked_for(self, shape: tuple[int, int, int]) -> None:
        assert Generator(shape)(torch.randn(3, LATENT, generator=rng())).shape == (3, *shape)

    def test_its_layers_are_the_papers(self) -> None:
        generator = Generator((3, 32, 32))
        convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d)]
        channels = [(layer.in_channels, layer.out_channels) for layer in convolutions]
        assert channels == [(128, 128), (128, 64), (64, 3)]
        assert (generator.head.in_features, generator.head.out_features) == (128, 128 * 8 * 8)
        norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
        assert [norm.num_features for norm in norms] == [128, 128, 64, 3]
        assert all(norm.affine for norm in norms)
        slopes = [m.negative_slope for m in generator.modules() if isinstance(m, nn.LeakyReLU)]
        assert slopes == [0.2, 0.2]

    def test_a_batch_of_images_has_mean_0_and_variance_1_to_begin_with(self) -> None:
        images = Generator((3, 32, 32))(torch.randn(64, LATENT, generator=rng()))
        torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(images.var(dim=(0, 2, 3)), torch.ones(3), atol=1e-2, rtol=0)


class TestHyperparameters:
    """The authors' defaults, and what is refused."""

    def test_the_defaults_are_the_authors(self) -> None:
        assert GKT() == GKT(
            student_learning_rate=1e-3,
            generator_learning_rate=1e-3,
            threshold=0.01,
            beta=250.0,
            pseudo_batches=4000,
            batch_size=256,
            student_steps=10,
        )

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("student_learning_rate", 0.0),
            ("generator_learning_rate", -1.0),
            ("threshold", 0.0),
            ("threshold", float("nan")),
            ("beta", -1.0),
            ("beta", float("inf")),
            ("pseudo_batches", 0),
            ("batch_size", 1),
            ("student_steps", 0),
        ],
    )
    def test_an_impossible_value_is_refused(self, key: str, value: float) -> None:
        with pytest.raises(InvalidRequest, match=key):
            GKT(**{key: value})  # type: ignore[arg-type]

    def test_the_least_possible_values_are_taken(self) -> None:
        GKT(beta=0.0, pseudo_batches=1, batch_size=2, student_steps=1)
