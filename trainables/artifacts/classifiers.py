"""The base model, which must forget, and the retrained one, the gold standard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from trainables.artifacts import settings
from trainables.artifacts.kind import Asked, Kind, Parts
from trainables.artifacts.materials import Materials, Origin
from trainables.artifacts.store import Artifact, Built
from trainables.data.dataset import Samples
from trainables.errors import DataError
from trainables.metrics.accuracy import accuracy
from trainables.models import catalogue
from trainables.models.answers import predict
from trainables.models.copies import state_of
from trainables.models.weights import Weights
from trainables.scenario import Scenario
from trainables.training.supervised import fit


def train(
    materials: Materials,
    samples: Samples,
    model: nn.Module,
    seed: int,
    after_step: Callable[[Tensor], None] | None = None,
) -> Built:
    """The thesis' recipe (4.3.1): Adam on cross-entropy. The curve goes into the facts.

    Raises Diverged.
    """
    scenario, held_out = materials.scenario, materials.dataset.validation
    rng = torch.Generator(materials.device).manual_seed(seed)
    curve = []
    for loss in fit(
        model,
        samples,
        epochs=scenario.epochs,
        learning_rate=scenario.learning_rate,
        batch_size=scenario.batch_size,
        rng=rng,
        after_step=after_step,
    ):
        correct = accuracy(predict(model, held_out.images), held_out.labels)
        curve.append({"training_loss": loss, "validation_accuracy": correct})
    return state_of(model), {"curve": curve}


def load(parts: Parts, _: str, artifact: Artifact) -> nn.Module:
    """The classifier, in evaluation mode. Never changed: clone it."""
    model = parts.materials.fresh_model(seed=0)
    model.load_state_dict(artifact.tensors)
    return model.eval()


def _base_settings(_: str, scenario: Scenario, origin: Origin) -> dict[str, Any]:
    if origin.weights is not None:
        return {**settings.of_model(scenario), "weights": origin.weights}
    return {**settings.of_data(scenario, origin), **settings.of_training(scenario)}


def _build_base(parts: Parts, _: str) -> Built:
    """Trained, or read from the file of weights that the scenario names."""
    materials = parts.materials
    if (given := materials.given) is not None:
        return _read(materials, given)
    seed = materials.scenario.seed
    return train(materials, materials.dataset.train, materials.fresh_model(seed), seed)


def _read(materials: Materials, given: Weights) -> Built:
    scenario = materials.scenario
    shape, classes = materials.image_shape, materials.num_classes
    catalogue.check_weights(scenario.model, shape, classes, scenario.width, given)
    model = materials.fresh_model(seed=0)
    content = given.path.read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(given.fingerprint):
        raise DataError(f"{given.path}: was changed while it was read; try again")
    model.load_state_dict(load_tensors(content))
    return state_of(model), {}


def _base_wanted(_: Asked) -> list[str]:
    return ["base"]


def _retrained_settings(_: str, scenario: Scenario, origin: Origin) -> dict[str, Any]:
    return {
        **settings.of_data(scenario, origin),
        **settings.of_training(scenario),
        **settings.of_request(scenario),
    }


def _build_retrained(parts: Parts, _: str) -> Built:
    materials = parts.materials
    retain = materials.dataset.train.without(materials.scenario.forget)
    # Another seed: retraining starts from a fresh initialisation, not from the base model's.
    seed = materials.scenario.seed + 1
    return train(materials, retain, materials.fresh_model(seed), seed)


def _retrained_wanted(asked: Asked) -> list[str]:
    return ["retrained"] if asked.scenario.has_data else []


BASE = Kind("base", 1, _base_settings, _base_wanted, _build_base, load)
RETRAINED = Kind("retrained", 1, _retrained_settings, _retrained_wanted, _build_retrained, load)
