"""The training log: what batches with forget samples did to the base model (Graves et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.access import Access
from trainables.artifacts import classifiers, settings
from trainables.artifacts.kind import Asked, Kind, Parts
from trainables.artifacts.materials import Origin
from trainables.artifacts.store import Artifact, Built, checksum
from trainables.errors import DataError, InvalidRequest
from trainables.scenario import Scenario

SAME_TRAINING = 1e-4
"""Distance of two trainings' weights, over their norm, up to which they count as one.

The same training is the same bit for bit, and the log's own sums are rounded by some 1e-6. One that
rounds otherwise is soon another: a second thread is 2 % apart after one epoch, 7 % after thirty.
"""


def _settings(_: str, scenario: Scenario, origin: Origin) -> dict[str, Any]:
    if origin.weights is not None:
        raise InvalidRequest(
            "there is no training log of a base model that comes from a file (weights); possible "
            "are the methods that need none (`forgetune methods`)"
        )
    return {
        **settings.of_data(scenario, origin),
        **settings.of_training(scenario),
        **settings.of_request(scenario),
    }


def _wanted(asked: Asked) -> list[str]:
    return ["log"] if Access.LOG in asked.needs else []


def _build(parts: Parts, _: str) -> Built:
    """The base model's training, with the updates of the batches that held forget samples summed
    up.

    Where the base model is missing, it is this training's. Where it is there, it is trained once
    more for the log alone, and DataError raised if something else comes of it.

    One sum answers this forget request. A log that can answer every request keeps the updates of
    all batches; what that takes is in the facts, in bytes.
    """
    materials = parts.materials
    scenario = materials.scenario
    wanted = torch.tensor(scenario.forget, device=materials.device)
    model = materials.fresh_model(scenario.seed)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    summed = {name: torch.zeros_like(value) for name, value in before.items()}
    batches = {"all": 0, "with_forget_samples": 0}

    def record(labels: Tensor) -> None:
        touched = bool(torch.isin(labels, wanted).any())
        batches["all"] += 1
        batches["with_forget_samples"] += touched
        for name, parameter in model.named_parameters():
            if touched:
                summed[name] += parameter.detach() - before[name]
            before[name].copy_(parameter.detach())

    def train() -> Built:
        samples = materials.dataset.train
        return classifiers.train(materials, samples, model, scenario.seed, record)

    base = parts.obtain("base", train).tensors
    if not batches["all"]:
        train()
        _check_trained_alike(parts, model, base)
    size = sum(value.numel() * value.element_size() for value in summed.values())
    return summed, {
        "base": checksum(base),
        "batches": batches["all"],
        "batches_with_forget_samples": batches["with_forget_samples"],
        "bytes": size,
        "bytes_of_sums_per_class": size * materials.num_classes,
        "bytes_of_a_full_log": size * batches["all"],
    }


def _check_trained_alike(parts: Parts, model: nn.Module, base: Mapping[str, Tensor]) -> None:
    """Raises DataError if the weights of `model` are not those of the base model."""
    pairs = [(p.detach().cpu().double(), base[n].double()) for n, p in model.named_parameters()]
    apart = sum(float((own - theirs).square().sum()) for own, theirs in pairs) ** 0.5
    distance = apart / sum(float(theirs.square().sum()) for _, theirs in pairs) ** 0.5
    if not distance <= SAME_TRAINING:
        place, name = parts.stored("base")
        raise DataError(
            f"the base model in {place} was trained otherwise than here and now (other "
            f"threads, device or versions? its weights are {100 * distance:.2g} % apart), so "
            "that its training log cannot be made; choose another folder (--artifacts), or "
            f"remove {name}.* from there, so that both are made together"
        )


def _load(parts: Parts, name: str, log: Artifact) -> dict[str, Tensor]:
    """Parameter name -> the sum of its updates by batches that held forget samples, on the device.

    Raises DataError for a log that is of another base model.
    """
    if log.facts["base"] != checksum(parts.obtain("base").tensors):
        place, file = parts.stored(name)
        raise DataError(
            f"the training log in {place} is of another base model than the one there, which "
            f"was made anew since; remove {file}.* from there, or choose another folder "
            "(--artifacts)"
        )
    return {name: tensor.to(parts.materials.device) for name, tensor in log.tensors.items()}


# Recorded while the base model is trained: what makes the one makes the other.
LOG = Kind("log", 2, _settings, _wanted, _build, _load, beside=("base",))
