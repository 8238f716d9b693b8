"""Networks as slices of a wide one compute, learn and are updated as they would be alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.trainables.toys import batches_tracked, rng, state
from trainables.models import catalogue
from trainables.models.classifier import Classifier
from trainables.training.fused import Stack, run_together
from trainables.training.passes import Pass, Plan, run
from trainables.training.supervised import adam
from trainables.training.wide import JointAdam, Wide

CLASSES = 4
ARCHITECTURES = [
    ("allcnn", 0.05, (1, 8, 8)),
    ("resnet9", 1.0, (3, 8, 8)),
    ("vgg16", 1.0, (1, 8, 8)),
]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def networks(
    count: int,
    name: str = "allcnn",
    width: float = 0.05,
    shape: tuple[int, int, int] = (1, 8, 8),
    layout: torch.memory_format = torch.channels_last,
) -> list[Classifier]:
    """Unlike ones, in double precision: what is left of differences then is not rounding."""
    made = []
    for seed in range(count):
        model = catalogue.build(name, shape, CLASSES, width, seed).double()
        assert isinstance(model, Classifier)
        made.append(model.to(memory_format=layout))
    return made


def images(count: int, each: int, shape: tuple[int, int, int] = (1, 8, 8)) -> Tensor:
    return torch.rand(count, each, *shape, generator=rng(1), dtype=torch.float64) * 2 - 1


def labels(count: int, each: int) -> Tensor:
    return torch.randint(CLASSES, (count, each), generator=rng(2))


def close(found: Tensor | None, expected: Tensor | None) -> None:
    assert found is not None
    assert expected is not None
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "width", "shape"), ARCHITECTURES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_computes_and_learns_statistics_as_it_does_alone(
    name: str, width: float, shape: tuple[int, int, int], layout: torch.memory_format
) -> None:
    alone = networks(2, name, width, shape, layout)
    together = copy.deepcopy(alone)
    wide = Wide(together)
    shown, told = images(2, 6, shape), labels(2, 6)
    for training in (True, True, False):
        logits = wide(shown, training)
        for model, own, found in zip(alone, shown, logits, strict=True):
            close(found, model.train(training)(own))
    logits = wide(shown)
    losses = [functional.cross_entropy(one, own) for one, own in zip(logits, told, strict=True)]
    torch.stack(losses).sum().backward()
    wide.hand_out_gradients()
    for model, twin, own, answers in zip(alone, together, shown, told, strict=True):
        functional.cross_entropy(model.train()(own), answers).backward()
        for expected, found in zip(model.parameters(), twin.parameters(), strict=True):
            close(found.grad, expected.grad)
        assert batches_tracked(twin) == 3
        for tensor, after in state(model).items():
            close(twin.state_dict()[tensor], after)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_changes_a_network_changes_the_wide_one(layout: torch.memory_format) -> None:
    first, second = networks(2, layout=layout)
    wide = Wide([first, second])
    other = networks(3, layout=layout)[2]
    first.load_state_dict(other.state_dict())
    shown = images(2, 3)
    found = wide(shown, training=False)
    close(found[0], other.eval()(shown[0]))
    close(found[1], second.eval()(shown[1]))


def test_one_network_is_a_wide_one_too() -> None:
    (model,) = networks(1)
    shown = images(1, 3)
    expected = copy.deepcopy(model)(shown[0])
    close(Wide([model])(shown)[0], expected)


RATES, DECAYS = (1e-2, 1e-3, 1e-4), (0.0, 5e-4, 0.1)


def descend(models_: list[Classifier], optimizers: list[torch.optim.Adam], turn: int) -> None:
    """One step of each, alone."""
    shown, told = images(3, 6), labels(3, 6)
    for index, (model, optimizer) in enumerate(zip(models_, optimizers, strict=True)):
        optimizer.zero_grad()
        rolled = told[index].roll(turn)
        functional.cross_entropy(model.train()(shown[index]), rolled).backward()
        optimizer.step()


def descend_jointly(wide: Wide, joint: JointAdam, turn: int) -> None:
    shown, told = images(3, 6), labels(3, 6)
    for parameter in wide.parameters:
        parameter.grad = None
    answers = zip(wide(shown), told, strict=True)
    losses = [functional.cross_entropy(one, own.roll(turn)) for one, own in answers]
    torch.stack(losses).sum().backward()
    joint.step()


def optimizers_of(models_: list[Classifier]) -> list[torch.optim.Adam]:
    return [
        adam(model.parameters(), rate, weight_decay=decay)
        for model, rate, decay in zip(models_, RATES, DECAYS, strict=True)
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_joint_steps_are_each_optimizer_s_own(layout: torch.memory_format) -> None:
    """With unlike rates, decays and numbers of steps, alone and together by turns, and a rate that
    changes on the way."""
    alone = networks(3, layout=layout)
    together = copy.deepcopy(alone)
    own, shared = optimizers_of(alone), optimizers_of(together)
    # One is two steps ahead before they meet.
    for models_, optimizers in ((alone, own), (together, shared)):
        for turn in range(2):
            descend(models_[:1], optimizers[:1], turn)
    for start in (0, 5):
        wide = Wide(together)
        joint = JointAdam.of(wide, shared)
        assert joint is not None
        for turn in range(start, start + 3):
            descend(alone, own, turn)
            descend_jointly(wide, joint, turn)
        for optimizers in (own, shared):
            optimizers[1].param_groups[0]["lr"] *= 0.1
        descend(alone[2:], own[2:], 9)
        descend(together[2:], shared[2:], 9)
    for model, twin, optimizer, twin_optimizer in zip(alone, together, own, shared, strict=True):
        for tensor, expected in state(model).items():
            close(twin.state_dict()[tensor], expected)
        before, after = optimizer.state_dict()["state"], twin_optimizer.state_dict()["state"]
        assert before.keys() == after.keys()
        for index in before:
            for what in ("step", "exp_avg", "exp_avg_sq"):
                close(after[index][what], before[index][what])


REFUSED: dict[str, Callable[[Classifier], torch.optim.Optimizer]] = {
    "another kind": lambda model: torch.optim.SGD(model.parameters(), 0.1),
    "a kind that is nearly it": lambda model: torch.optim.AdamW(model.parameters(), 0.1),
    "amsgrad": lambda model: torch.optim.Adam(model.parameters(), 0.1, amsgrad=True),
    "upwards": lambda model: torch.optim.Adam(model.parameters(), 0.1, maximize=True),
    "decay apart": lambda model: torch.optim.Adam(
        model.parameters(), 0.1, weight_decay=0.1, decoupled_weight_decay=True
    ),
    "other betas": lambda model: adam(model.parameters(), 0.1, betas=(0.5, 0.999)),
    "a part": lambda model: adam(model.classifier.parameters(), 0.1),
    "groups": lambda model: torch.optim.Adam(
        [{"params": model.features.parameters()}, {"params": model.classifier.parameters()}], 0.1
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_optimizer_that_is_not_plain_adam_of_all_is_left_to_itself(kind: str) -> None:
    first, second = networks(2)
    wide = Wide([first, second])
    usual = adam(first.parameters(), 0.1)
    assert JointAdam.of(wide, [usual, adam(second.parameters(), 0.1)]) is not None
    assert JointAdam.of(wide, [usual, REFUSED[kind](second)]) is None


@pytest.mark.parametrize("kind", [kind for kind in REFUSED if kind != "upwards"])
def test_such_optimizers_take_their_steps_all_the_same(kind: str) -> None:
    shown, told = images(1, 40)[0], labels(1, 40)[0]

    def plan(model: Classifier, own: bool) -> Plan:
        optimizer = REFUSED[kind](model) if own else adam(model.parameters(), 1e-3)
        for _ in range(2):
            yield Pass(shown, (told,), 16, functional.cross_entropy, optimizer)

    base = networks(1)[0]
    expected = []
    for seed in range(2):
        model = copy.deepcopy(base)
        for _ in run(plan(model, own=seed == 1), model, rng(seed)):
            pass
        expected.append(state(model))
    stack = Stack(base, 2)
    plans = [plan(model, own=index == 1) for index, model in enumerate(stack.models)]
    assert run_together(stack, plans, [rng(0), rng(1)]) == [None, None]
    for found, alone in zip(stack.models, expected, strict=True):
        for tensor, value in alone.items():
            close(found.state_dict()[tensor], value)


def test_a_plan_that_starts_afresh_with_another_optimizer_is_followed() -> None:
    shown, told = images(1, 40)[0], labels(1, 40)[0]

    def plan(model: Classifier) -> Plan:
        first = adam(model.parameters(), 1e-3)
        second = adam(model.parameters(), 1e-2)
        for optimizer in (first, second, first):
            yield Pass(shown, (told,), 20, functional.cross_entropy, optimizer)

    base = networks(1)[0]
    stack = Stack(base, 2)
    plans = [plan(model) for model in stack.models]
    assert run_together(stack, plans, [rng(0), rng(1)]) == [None, None]
    for seed, found in enumerate(stack.models):
        model = copy.deepcopy(base)
        for _ in run(plan(model), model, rng(seed)):
            pass
        for tensor, value in state(model).items():
            close(found.state_dict()[tensor], value)
