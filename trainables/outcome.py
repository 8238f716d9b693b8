"""What a trial came to: its state, its metrics, its costs. Values only: no torch, no ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a trial ended. Only `complete` trials have metrics."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OOM = "oom"
    CRASHED = "crashed"
    TIMEOUT = "timeout"


METRICS: dict[str, str] = {
    "forget_accuracy": "% correct on validation images of the forget classes",
    "retain_accuracy": "% correct on validation images of the other classes",
    "mia": "% of the forget set called members (non-members: validation images)",
    "gap": "mean distance to the retrained model over these three, in points",
    "test_forget_accuracy": "% correct on test images of the forget classes",
    "test_retain_accuracy": "% correct on test images of the other classes",
    "test_mia": "% of the forget set called members (non-members: test images)",
    "test_gap": "mean distance to the retrained model over these three, in points",
}
"""Every metric's column (without its `m_`) and meaning. The `test_` ones never steer a search."""


@dataclass(frozen=True)
class Outcome:
    """One trial's end. Times are seconds, `started` and `finished` seconds since 1970 (UTC).

    `prepare_seconds` is what the artifacts that the method needs cost when they were built;
    `unlearn_seconds` the method's own work, drawing from trained generators included.
    """

    state: State
    method: str
    hyperparameters: dict[str, Any]
    seed: int
    started: float
    finished: float
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    unlearn_seconds: float | None = None
    evaluate_seconds: float | None = None
    prepare_seconds: float | None = None
    device: str = "cpu"
    peak_memory_mb: float | None = None
    host: str | None = None
