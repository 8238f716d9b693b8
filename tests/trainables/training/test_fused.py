"""Trials that share their steps come to what they come to alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import rng, state
from trainables import methods
from trainables.access import Granted
from trainables.errors import Diverged, InvalidRequest, TooFewSamples, TrialTimeout
from trainables.models import catalogue
from trainables.models.answers import Seen, look, predict
from trainables.outcome import State
from trainables.training import fused
from trainables.training.fused import Stack, run_together
from trainables.training.passes import PHASE_ENDS, Pass, Plan, run
from trainables.training.supervised import adam
from trainables.trial import run_trial, run_trials_together
from trainables.workbench import Workbench

SHAPE, CLASSES = (1, 8, 8), 3
IMAGES = torch.rand(90, *SHAPE, generator=rng(1), dtype=torch.float64) * 2 - 1
LABELS = torch.randint(CLASSES, (90,), generator=rng(2))

# Differing in what is continuous, in how much is drawn, in batch sizes, in how long they run.
MEMBERS: dict[str, list[dict[str, Any]]] = {
    "finetune": [
        {"learning_rate": 1e-3, "epochs": 2, "batch_size": 32},
        {"learning_rate": 1e-4, "epochs": 1, "batch_size": 32},
        {"learning_rate": 1e-2, "epochs": 2, "batch_size": 64},
        {"learning_rate": 1e-3, "epochs": 2, "batch_size": 32, "batch_norm": "frozen"},
        {"learning_rate": 1e-2, "epochs": 1, "batch_size": 32, "batch_norm": "frozen"},
        {"learning_rate": 1e-3, "epochs": 2, "batch_size": 32, "layers": 2},
    ],
    "scrub": [
        {"learning_rate": 1e-3, "epochs": 2, "max_steps": 1, "alpha": 0.1, "temperature": 2.0},
        {"learning_rate": 1e-4, "epochs": 3, "max_steps": 2, "alpha": 0.9, "temperature": 4.0},
        {"learning_rate": 1e-3, "epochs": 2, "max_steps": 2, "gamma": 0.5, "temperature": 1.0},
        {"learning_rate": 1e-3, "epochs": 2, "max_steps": 1, "batch_norm": "frozen", "layers": 3},
        {"learning_rate": 1e-3, "epochs": 2, "max_steps": 1, "batch_norm": "frozen"},
    ],
    "scrub_r": [
        {"learning_rate": 1e-3, "epochs": 2, "max_steps": 1},
        {"learning_rate": 1e-4, "epochs": 3, "max_steps": 2},
        {"learning_rate": 1e-3, "epochs": 2, "max_steps": 1, "batch_norm": "frozen"},
    ],
    "bad_teacher": [
        {"learning_rate": 1e-3, "batch_size": 32, "temperature": 1.0},
        {"learning_rate": 1e-4, "batch_size": 32, "temperature": 4.0, "retain_fraction": 0.7},
        {"learning_rate": 1e-3, "batch_size": 32, "epochs": 2},
        {"learning_rate": 1e-3, "batch_size": 32, "epochs": 2, "batch_norm": "frozen"},
        {"learning_rate": 1e-3, "batch_size": 32, "epochs": 2, "layers": 1},
    ],
    "mugan": [
        {"learning_rate": 1e-3, "samples_per_class": 64, "temperature": 4.0},
        {"learning_rate": 1e-4, "samples_per_class": 100, "temperature": 1.0},
        {"learning_rate": 1e-3, "samples_per_class": 70, "direction": "model"},
        {"learning_rate": 1e-3, "samples_per_class": 64, "batch_norm": "frozen"},
        {"learning_rate": 1e-3, "samples_per_class": 80, "batch_norm": "frozen", "layers": 2},
    ],
    "zmugan": [
        {"learning_rate": 1e-3, "samples_per_generator": 100, "generators": 2},
        {"learning_rate": 1e-4, "samples_per_generator": 150, "generators": 1},
        {"learning_rate": 1e-3, "samples_per_generator": 100, "generators": 2, "temperature": 8.0},
        {"learning_rate": 1e-3, "samples_per_generator": 100, "batch_norm": "frozen", "layers": 2},
    ],
    "zdelete": [
        {"learning_rate": 1e-3, "epochs": 2, "generators": 2, "samples_per_generator": 90},
        {"learning_rate": 1e-4, "epochs": 3, "generators": 1, "samples_per_generator": 90},
        {"learning_rate": 1e-3, "epochs": 2, "generators": 2, "head_epochs": 2, "layers": 2},
        {"learning_rate": 1e-3, "epochs": 1, "generators": 1, "batch_norm": "train"},
    ],
}
"""Trials of every method that can share its steps."""


def granted(bench: Workbench, method: methods.Method) -> Granted:
    """Everything that the method needs, in double precision: what is left of differences then is
    the method's, not rounding that Adam's first steps blow up."""
    access = bench.grant(method.needs, getattr(method, "generators", 0))
    access._held = {kind: doubled(held) for kind, held in access._held.items()}
    return access


def doubled(held: Any) -> Any:
    if isinstance(held, nn.Module):
        return copy.deepcopy(held).double()
    if isinstance(held, list):
        return [doubled(each) for each in held]
    if hasattr(held, "generators"):
        generators = held.generators
        if isinstance(generators, dict):
            generators = {label: doubled(each) for label, each in generators.items()}
        else:
            generators = doubled(generators)
        return type(held)(generators, doubled(held.classifier))
    return type(held)(held.images.double(), held.labels)


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_every_method_comes_to_what_it_comes_to_alone(bench: Workbench, name: str) -> None:
    base = copy.deepcopy(bench.base).double()
    made = [methods.make(name, values) for values in MEMBERS[name]]
    access = [granted(bench, method) for method in made]
    torch.set_default_dtype(torch.float64)
    try:
        expected = []
        for seed, method in enumerate(made):
            model = copy.deepcopy(base)
            for _ in method.unlearn(model, access[seed], rng(seed)):
                pass
            expected.append(state(model))
        stack = Stack(base, len(made))
        rngs = [rng(seed) for seed in range(len(made))]
        plans = [
            method.plan(model, what, source)  # type: ignore[attr-defined]
            for method, model, what, source in zip(made, stack.models, access, rngs, strict=True)
        ]
        assert run_together(stack, plans, rngs) == [None] * len(made)
    finally:
        torch.set_default_dtype(torch.float32)
    for model, alone in zip(stack.models, expected, strict=True):
        assert_close(state(model), alone)
    for alone in expected:
        assert any(not torch.equal(alone[name], p) for name, p in base.named_parameters())


def assert_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-8, atol=1e-8, msg=name)


def test_methods_that_are_more_than_passes_are_known() -> None:
    assert {name for name in methods.METHODS if methods.is_plan(name)} == MEMBERS.keys()


def network() -> nn.Module:
    return catalogue.build("allcnn", SHAPE, CLASSES, 0.05, seed=0).double()


def training(model: nn.Module, rate: float, count: int = 90, epochs: int = 2) -> Plan:
    optimizer = adam(model.parameters(), rate)
    for _ in range(epochs):
        others = (LABELS[:count],)
        yield Pass(IMAGES[:count], others, 32, functional.cross_entropy, optimizer)
        yield PHASE_ENDS


def alone(rate: float, seed: int, count: int = 90) -> dict[str, Tensor]:
    model = network()
    for _ in run(training(model, rate, count), model, rng(seed)):
        pass
    return state(model)


def together(plans: list[Plan], stack: Stack) -> list[Exception | None]:
    return run_together(stack, plans, [rng(seed) for seed in range(len(plans))])


def test_one_that_diverges_does_not_disturb_the_others() -> None:
    stack = Stack(network(), 3)
    rates = (1e-3, float("inf"), 1e-2)
    found = together(
        [training(m, rate) for m, rate in zip(stack.models, rates, strict=True)], stack
    )
    assert found[0] is None
    assert isinstance(found[1], Diverged)
    assert found[2] is None
    for member in (0, 2):
        assert_close(state(stack.models[member]), alone(rates[member], member))


def test_one_whose_plan_fails_does_not_disturb_the_others() -> None:
    stack = Stack(network(), 2)

    def failing() -> Plan:
        yield from training(stack.models[0], 1e-3, epochs=1)
        raise TooFewSamples("none left")

    found = together([failing(), training(stack.models[1], 1e-3)], stack)
    assert isinstance(found[0], TooFewSamples)
    assert_close(state(stack.models[1]), alone(1e-3, 1))


def test_the_time_limit_is_everyone_s_wherever_it_is_met() -> None:
    """An alarm rings once: taken for one trial's failure, the others would have no limit left."""
    stack = Stack(network(), 2)

    def late() -> Plan:
        yield from training(stack.models[0], 1e-3, epochs=1)
        raise TrialTimeout("too long")

    with pytest.raises(TrialTimeout):
        together([late(), training(stack.models[1], 1e-3)], stack)


def test_prefixes_of_one_pool_end_after_so_many_steps_of_their_own() -> None:
    """Last batches of other sizes, and one of a single sample that joins the one before."""
    counts = (90, 65, 33, 12)
    stack = Stack(network(), len(counts))
    plans = [training(m, 1e-3, count) for m, count in zip(stack.models, counts, strict=True)]
    assert together(plans, stack) == [None] * len(counts)
    for seed, (model, count) in enumerate(zip(stack.models, counts, strict=True)):
        assert_close(state(model), alone(1e-3, seed, count))


def test_steps_are_really_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[int] = []
    before = Stack.losses

    def counting(self: Stack, who: Any, passes: Any, batches: Tensor) -> Tensor:
        shared.append(len(who))
        return before(self, who, passes, batches)

    monkeypatch.setattr(Stack, "losses", counting)
    stack = Stack(network(), 4)
    together([training(model, 1e-3) for model in stack.models], stack)
    assert shared == [4] * 6  # two epochs of 90 samples in batches of 32


def test_models_of_a_stack_answer_together_as_they_do_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = Stack(network(), 3)
    together([training(m, r) for m, r in zip(stack.models, (1e-3, 1e-4, 1e-2), strict=True)], stack)
    asked: list[int] = []
    before = Stack.look

    def counting(self: Stack, images: Tensor) -> list[Seen]:
        asked.append(len(images))
        return before(self, images)

    monkeypatch.setattr(Stack, "look", counting)
    monkeypatch.setattr(fused, "BATCH", 30)  # several parts, the last of another size
    answers = stack.answers()
    for model, answer in zip(stack.models, answers, strict=True):
        torch.testing.assert_close(answer(IMAGES), predict(model, IMAGES), rtol=1e-8, atol=1e-8)
        features, own = answer.features(IMAGES), look(model, IMAGES).features
        assert features is not None
        assert own is not None
        torch.testing.assert_close(features, own, rtol=1e-8, atol=1e-8)
    assert asked == [len(IMAGES)]
    assert not torch.equal(answers[0](IMAGES), answers[1](IMAGES))


def test_one_whose_outputs_are_no_numbers_does_not_keep_the_others_from_answering() -> None:
    stack = Stack(network(), 3)
    with torch.no_grad():
        stack.models[1].classifier.weight.fill_(float("nan"))  # type: ignore[union-attr,operator]
    first, second, third = stack.answers()
    expected = predict(network(), IMAGES)
    torch.testing.assert_close(first(IMAGES), expected, rtol=1e-8, atol=1e-8)
    with pytest.raises(Diverged, match="outputs became non-finite"):
        second(IMAGES)
    torch.testing.assert_close(third(IMAGES), expected, rtol=1e-8, atol=1e-8)


def test_models_of_a_stack_are_slices_of_it() -> None:
    stack = Stack(network(), 2)
    with torch.no_grad():
        stack.models[0].classifier.weight.fill_(7)  # type: ignore[union-attr,operator]
    loaded = {name: torch.ones_like(tensor) for name, tensor in state(stack.models[1]).items()}
    stack.models[1].load_state_dict(loaded)
    one = Pass(
        IMAGES, (LABELS,), 32, functional.cross_entropy, adam(stack.models[0].parameters(), 1)
    )
    rows = torch.arange(4).repeat(2, 1)
    losses = stack.losses([0, 1], [one, one], rows)
    for loss, model in zip(losses, stack.models, strict=True):
        expected = functional.cross_entropy(model.train()(IMAGES[:4]), LABELS[:4])
        torch.testing.assert_close(loss, expected.detach())


def distance(one: nn.Module, other: nn.Module) -> float:
    """L2, over all weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5


class TestTrials:
    """`run_trials_together` against `run_trial`."""

    VALUES: ClassVar[list[dict[str, Any]]] = [
        {"samples_per_class": 64, "learning_rate": 1e-5},
        {"samples_per_class": 80, "learning_rate": 1e-4},
    ]

    def test_outcomes_are_those_of_separate_trials(self, bench: Workbench) -> None:
        found = run_trials_together(bench, "mugan", self.VALUES, [3, 4])
        for (outcome, model), values, seed in zip(found, self.VALUES, (3, 4), strict=True):
            expected, expected_model = run_trial(bench, "mugan", values, seed)
            assert outcome.state is State.COMPLETE
            assert (outcome.seed, outcome.hyperparameters) == (seed, expected.hyperparameters)
            assert (outcome.together, expected.together) == (2, 1)
            # Rounding moves a sample across a boundary now and then.
            assert outcome.metrics == pytest.approx(expected.metrics, rel=0.05, abs=3)
            assert outcome.class_accuracy == pytest.approx(expected.class_accuracy, abs=3)
            assert outcome.unlearn_seconds is not None
            assert outcome.evaluate_seconds is not None
            assert model is not None
            assert expected_model is not None
            moved = distance(expected_model, bench.base)
            assert moved > 0
            assert distance(model, expected_model) < 0.2 * moved

    def test_each_fails_for_itself(self, bench: Workbench) -> None:
        values = [
            {"samples_per_generator": 100, "generators": 1},
            {"samples_per_generator": 2, "generators": 1},
        ]
        (one, model), (other, none) = run_trials_together(bench, "zmugan", values, [0, 0])
        assert (one.state, other.state) == (State.COMPLETE, State.STARVED)
        assert model is not None
        assert none is None
        assert other.reason is not None
        assert "samples" in other.reason
        assert one.evaluate_seconds is not None
        assert other.evaluate_seconds is None, "it has not come to that"

    def test_the_base_model_stays_as_it_is(self, bench: Workbench) -> None:
        before = state(bench.base)
        run_trials_together(bench, "mugan", self.VALUES, [3, 4])
        assert_close(state(bench.base), before)

    def test_a_trial_s_model_is_its_own(self, bench: Workbench) -> None:
        (_, one), (_, other) = run_trials_together(bench, "mugan", self.VALUES, [3, 4])
        assert one is not None
        assert other is not None
        before = state(other)
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.zero_()
        assert_close(state(other), before)
        storages = {p.untyped_storage().nbytes() for p in one.parameters()}
        assert max(storages) <= max(p.numel() * p.element_size() for p in one.parameters())

    def test_a_time_limit_is_of_all_shares(self, bench: Workbench) -> None:
        found = run_trials_together(bench, "mugan", self.VALUES, [3, 4], timeout=1e-4)
        assert [outcome.state for outcome, _ in found] == [State.TIMEOUT] * 2

    def test_a_method_that_is_more_than_passes_is_refused(self, bench: Workbench) -> None:
        with pytest.raises(InvalidRequest, match="JiT cannot share"):
            run_trials_together(bench, "jit", [{}, {}], [0, 1])
