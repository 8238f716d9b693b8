"""Settings of a scenario that several kinds of artifacts follow from."""

from __future__ import annotations

from typing import Any

from trainables.artifacts.materials import Origin
from trainables.data.sources import SPLIT_SEED
from trainables.scenario import Scenario


def of_data(scenario: Scenario, origin: Origin) -> dict[str, Any]:
    """The dataset and how it is split, and the seed."""
    split: dict[str, Any] = {"validation_fraction": scenario.validation_fraction}
    if origin.held_out is not None:
        split = {"held_out": origin.held_out}
    elif scenario.validation_source == "test":
        split = {"validation_from": "test"}
    return {
        "dataset": origin.dataset,
        **split,
        "split_seed": SPLIT_SEED,
        "seed": scenario.seed,
    }


def of_model(scenario: Scenario) -> dict[str, Any]:
    return {"model": scenario.model, "width": scenario.width}


def of_training(scenario: Scenario) -> dict[str, Any]:
    """The model and its training."""
    return {
        **of_model(scenario),
        "epochs": scenario.epochs,
        "learning_rate": scenario.learning_rate,
        "batch_size": scenario.batch_size,
    }


def of_request(scenario: Scenario) -> dict[str, Any]:
    """What is to be forgotten."""
    return {"forget": list(scenario.forget)}
