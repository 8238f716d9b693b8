"""What is measured of the models that every trial is compared with: once, since it takes long."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import nn

from trainables.access import Granted
from trainables.artifacts import settings
from trainables.artifacts.kind import Asked, Kind, Parts
from trainables.artifacts.materials import Origin
from trainables.artifacts.store import Artifact, Built
from trainables.errors import InvalidRequest
from trainables.methods.mask import Mask
from trainables.metrics.anamnesis import Relearning, relearn
from trainables.metrics.compare import Comparison
from trainables.metrics.evaluate import Evaluator
from trainables.metrics.gap import distances
from trainables.models.answers import answers_of
from trainables.models.copies import clone
from trainables.scenario import Scenario

MODELS = ("base", "retrained", "control")
"""Models that every trial is compared with. The last is the base model with an output switched off:
where it does well, a figure says little. A model that cannot be masked has none."""


class Reference(NamedTuple):
    """Of each of `MODELS` that there is: metrics, and by split accuracies on each class."""

    metrics: dict[str, dict[str, float]]
    by_class: dict[str, dict[str, list[float | None]]]


def evaluator(parts: Parts) -> Evaluator:
    given = parts.materials
    return Evaluator(given.dataset, given.scenario.forget, given.scenario.evaluation_seed)


def comparison(parts: Parts) -> Comparison:
    """With the retrained model."""
    given = parts.materials
    untrained = given.fresh_model(given.scenario.evaluation_seed)
    return Comparison(parts.keep(evaluator), parts.load("retrained"), untrained)


def relearned(parts: Parts, model: nn.Module) -> Relearning:
    """How soon a copy of `model` knows the forget classes again (eq. 10)."""
    given, scenario = parts.materials, parts.materials.scenario
    known = parts.load("reference").metrics["base"]["forget_accuracy"]
    return relearn(
        model,
        given.dataset.train,
        given.dataset.validation.of(scenario.forget),
        (1 - scenario.anamnesis_alpha) * known,
        scenario.evaluation_seed,
        batch_size=scenario.anamnesis_batch_size,
        most_epochs=scenario.anamnesis_epochs,
    )


def _reference_settings(_: str, scenario: Scenario, origin: Origin) -> dict[str, Any]:
    return {**settings.of_request(scenario), "evaluation_seed": scenario.evaluation_seed}


def _reference_wanted(asked: Asked) -> list[str]:
    return ["reference"] if asked.scenario.has_data else []


def _build_reference(parts: Parts, _: str) -> Built:
    facts: dict[str, Any] = {"by_class": {}}
    models = {"retrained": parts.load("retrained"), "base": parts.load("base")}
    if (control := _control(parts)) is not None:
        models["control"] = control
    for name, model in models.items():
        answers = answers_of(model)
        metrics, facts["by_class"][name] = parts.keep(evaluator).measure(answers)
        facts[name] = {**metrics, **parts.keep(comparison)(model, answers)}
        facts[name] |= distances(metrics, facts["retrained"])
    return {}, facts


def _control(parts: Parts) -> nn.Module | None:
    """What forgets nothing and has good figures; None of a model that cannot be masked."""
    given = parts.materials
    what = given.scenario.forget, given.num_classes, given.image_shape
    rng = torch.Generator(given.device)
    phases = Mask().unlearn(clone(parts.load("base")), Granted(Mask.needs, {}, *what), rng)
    with contextlib.suppress(InvalidRequest):
        return next(phases)
    return None


def _load_reference(_: Parts, __: str, artifact: Artifact) -> Reference:
    facts = artifact.facts
    metrics = {model: dict(facts[model]) for model in MODELS if model in facts}
    return Reference(metrics, dict(facts["by_class"]))


def _relearning_settings(_: str, scenario: Scenario, origin: Origin) -> dict[str, Any]:
    return {
        **settings.of_request(scenario),
        "evaluation_seed": scenario.evaluation_seed,
        "alpha": scenario.anamnesis_alpha,
        "batch_size": scenario.anamnesis_batch_size,
        "most_epochs": scenario.anamnesis_epochs,
    }


def _relearning_wanted(asked: Asked) -> list[str]:
    return ["relearning"] if "anamnesis" in asked.expensive else []


def _build_relearning(parts: Parts, _: str) -> Built:
    # Not the control's: with an output switched off it would take all the steps there are.
    models = {name: parts.load(name) for name in ("retrained", "base")}
    return {}, {name: asdict(relearned(parts, model)) for name, model in models.items()}


def _load_relearning(_: Parts, __: str, artifact: Artifact) -> dict[str, Relearning]:
    return {model: Relearning(**found) for model, found in artifact.facts.items()}


REFERENCE = Kind(
    "reference",
    5,
    _reference_settings,
    _reference_wanted,
    _build_reference,
    _load_reference,
    follows=("base", "retrained"),
)
RELEARNING = Kind(
    "relearning",
    2,
    _relearning_settings,
    _relearning_wanted,
    _build_relearning,
    _load_relearning,
    follows=("base", "retrained"),
    after=("reference",),
)
