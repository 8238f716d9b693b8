"""What earlier versions stored, as this one reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.scenario import NO_DATASET


def stored(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved specification as it was stored, with what an earlier version did otherwise before
    it could be asked for."""
    scenario = spec.get("scenario")
    if isinstance(scenario, Mapping) and scenario.get("dataset") != NO_DATASET:
        spec = {**spec, "scenario": {"validation_from": "training", **scenario}}
    return {"pool_samples": False, **spec}
