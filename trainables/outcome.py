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
    "forget_accuracy": "percent correct on held-out (validation) images of the forget classes",
    "retain_accuracy": "percent correct on held-out (validation) images of the other classes",
    "mia": "percent of the forget set that the attack calls members (non-members: validation)",
    "gap": "mean distance to the retrained model over the three above, in points",
    "test_forget_accuracy": "the same on test images; recorded, never searched on",
    "test_retain_accuracy": "the same on test images; recorded, never searched on",
    "test_mia": "the same with test images as non-members; recorded, never searched on",
    "test_gap": "the same over the three test figures; recorded, never searched on",
}
"""Every metric's column (without its `m_`) and meaning."""


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
