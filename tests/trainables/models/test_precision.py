"""Convolutions in bfloat16: what is reduced, what is not, and what a trial comes to with them."""

from __future__ import annotations

import copy
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.trainables.toys import rng, same, state
from trainables.models import catalogue
from trainables.models.answers import answers_of, predict
from trainables.models.classifier import Classifier, full_precision
from trainables.outcome import State
from trainables.scenario import Places, Scenario
from trainables.trial import run_trial, run_trials_together, trial_phases
from trainables.workbench import Workbench

IMAGES = torch.rand(6, 1, 8, 8, generator=rng(1)) * 2 - 1
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network(name: str = "allcnn", width: float = 0.1) -> Classifier:
    model = catalogue.build(name, (1, 8, 8), 3, width, seed=0)
    assert isinstance(model, Classifier)
    return model


def reduced(model: Classifier) -> Classifier:
    model.autocast_to = torch.bfloat16
    return model


def convolved_in(model: nn.Module) -> set[torch.dtype]:
    """What the convolutions of `model` give, in one forward pass."""
    seen: set[torch.dtype] = set()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, maps: seen.add(maps.dtype))
    model(IMAGES)
    return seen


@pytest.mark.parametrize(("name", "width"), [("allcnn", 0.1), ("resnet9", 1.0), ("vgg16", 1.0)])
def test_convolutions_are_reduced_and_nothing_else(name: str, width: float) -> None:
    model = reduced(network(name, width)).eval()
    assert convolved_in(copy.deepcopy(model)) == {torch.bfloat16}
    functional.cross_entropy(model(IMAGES), LABELS).backward()
    assert model(IMAGES).dtype == torch.float32
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
    exact = network(name, width).eval()
    # bfloat16 keeps eight bits of a number.
    error = (model(IMAGES) - exact(IMAGES)).detach().norm() / exact(IMAGES).detach().norm()
    assert 0 < error < 0.05


def test_a_copy_computes_as_the_model_does() -> None:
    assert convolved_in(copy.deepcopy(reduced(network()))) == {torch.bfloat16}
    assert convolved_in(copy.deepcopy(network())) == {torch.float32}


def test_full_precision_lasts_as_long_as_it_is_asked_for() -> None:
    model = reduced(network()).eval()
    exact = network().eval()
    with full_precision(model):
        assert torch.equal(model(IMAGES), exact(IMAGES))
    assert not torch.equal(model(IMAGES), exact(IMAGES))
    with pytest.raises(ValueError, match="on the way"), full_precision(model):
        raise ValueError("on the way")
    assert model.autocast_to is torch.bfloat16
    with full_precision(exact), full_precision(nn.Identity()):
        assert exact.autocast_to is None


@pytest.fixture(scope="module")
def reduced_bench(scenario: Scenario, places: Places) -> Workbench:
    """The same artifacts: they do not depend on the precision."""
    return Workbench(replace(scenario, precision="bfloat16"), places, torch.device("cpu"))


def test_what_trials_share_stays_in_full_precision(
    bench: Workbench, reduced_bench: Workbench
) -> None:
    assert bench.references["retrained"] == reduced_bench.references["retrained"]
    for name in ("base", "retrained", "gan 0", "inverted generator 0", "reference"):
        assert reduced_bench.is_prepared(name) == bench.is_prepared(name)
    assert convolved_in(copy.deepcopy(reduced_bench.base)) == {torch.float32}
    assert convolved_in(reduced_bench.learner()) == {torch.bfloat16}
    assert convolved_in(bench.learner()) == {torch.float32}


METHODS: dict[str, dict[str, Any]] = {
    "mugan": {"samples_per_class": 60, "learning_rate": 5e-4},
    "finetune": {"epochs": 1},
    "scrub": {"epochs": 2, "max_steps": 1, "learning_rate": 1e-4},
    "bad_teacher": {"learning_rate": 1e-4},
}
JUDGED = ("forget_accuracy", "retain_accuracy", "test_forget_accuracy", "test_retain_accuracy")
SEEDS = range(5)


def moved(one: nn.Module, other: nn.Module) -> float:
    """L2 distance of the weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5


@pytest.mark.parametrize("method", METHODS)
def test_results_agree_within_the_noise_of_seeds(
    bench: Workbench, reduced_bench: Workbench, method: str
) -> None:
    found: dict[str, list[dict[str, float]]] = {}
    unlearned: dict[str, list[nn.Module]] = {}
    for name, where in (("exact", bench), ("reduced", reduced_bench)):
        ended = [run_trial(where, method, METHODS[method], seed) for seed in SEEDS]
        assert {outcome.state for outcome, _ in ended} == {State.COMPLETE}
        found[name] = [outcome.metrics for outcome, _ in ended]
        unlearned[name] = [model for _, model in ended if model is not None]
    between_seeds, between_precisions = [], []
    for index, (one, other) in enumerate(zip(*unlearned.values(), strict=True)):
        between_precisions.append(moved(one, other))
        between_seeds.append(moved(one, unlearned["exact"][index - 1]))
    assert 0 < mean(between_precisions) < mean(between_seeds)
    judge = bench.evaluator
    one_image = 100 / int(judge.forgotten(judge.held_out[""]).sum())  # of the smallest set
    for metric in JUDGED:
        exact, less = ([metrics[metric] for metrics in found[name]] for name in found)
        noise = ((stdev(exact) ** 2 + stdev(less) ** 2) / len(SEEDS)) ** 0.5
        assert abs(mean(exact) - mean(less)) <= 3 * noise + one_image, metric


def test_a_trial_is_measured_in_full_precision(reduced_bench: Workbench) -> None:
    ended, model = run_trial(reduced_bench, "mugan", METHODS["mugan"], seed=0)
    assert model is not None
    assert convolved_in(copy.deepcopy(model)) == {torch.float32}
    model.to(memory_format=catalogue.memory_format("allcnn", (1, 8, 8)))
    judged = reduced_bench.evaluator.measure(answers_of(model)).metrics
    assert {name: ended.metrics[name] for name in judged} == pytest.approx(judged, abs=1e-6)


def test_a_curve_is_measured_in_full_precision_and_goes_on_in_less(
    reduced_bench: Workbench,
) -> None:
    curve = list(trial_phases(reduced_bench, "mugan", METHODS["mugan"], seed=0))
    alone, model = run_trial(reduced_bench, "mugan", METHODS["mugan"], seed=0)
    *_, (last, same_model) = curve
    assert model is not None
    assert same_model is not None
    assert same(state(model), state(same_model)), "looking at it in between changes nothing"
    assert last.metrics == alone.metrics
    assert len(last.curve) == 2


def test_trials_share_steps_in_it_too(reduced_bench: Workbench) -> None:
    values = [{**METHODS["mugan"], "learning_rate": rate} for rate in (1e-4, 5e-4)]
    found = run_trials_together(reduced_bench, "mugan", values, [3, 4])
    for (outcome, model), chosen, seed in zip(found, values, (3, 4), strict=True):
        expected, expected_model = run_trial(reduced_bench, "mugan", chosen, seed)
        assert outcome.state is expected.state is State.COMPLETE
        assert outcome.metrics == pytest.approx(expected.metrics, rel=0.1, abs=6)
        assert model is not None
        assert expected_model is not None
        assert convolved_in(copy.deepcopy(model)) == {torch.float32}
        distance = moved(expected_model, reduced_bench.base)
        assert moved(model, expected_model) < 0.5 * distance
        torch.testing.assert_close(
            predict(model, IMAGES), predict(expected_model, IMAGES), rtol=0.2, atol=1.0
        )
