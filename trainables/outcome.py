"""What a trial came to: its state, its metrics, its costs. Values only: no torch, no ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a trial ended. Only `complete` trials have metrics; `pruned` ones have their curve."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OOM = "oom"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    STARVED = "starved"
    """Too few synthetic samples of a class."""


METRICS: dict[str, str] = {
    "forget_accuracy": "% correct on validation images of the forget classes",
    "retain_accuracy": "% correct on validation images of the other classes",
    "mia": "% of the forget set called members (non-members: validation images)",
    "gap": "mean distance to the retrained model over these three, in points",
    "probe": "% of validation images that a probe of the features tells right: forgotten or not",
    "probe_distance": "distance of that to the retrained model's, in points",
    "probe_gap": "mean distance to the retrained model with the probe as a fourth, in points",
    "test_forget_accuracy": "% correct on test images of the forget classes",
    "test_retain_accuracy": "% correct on test images of the other classes",
    "test_mia": "% of the forget set called members (non-members: test images)",
    "test_gap": "mean distance to the retrained model over these three, in points",
    "test_probe": "% of test images that the same probe tells right",
    "test_probe_distance": "distance of that to the retrained model's, in points",
    "test_probe_gap": "mean distance to the retrained model with the probe as a fourth, in points",
    "accuracy": "% correct on validation images of all classes",
    "test_accuracy": "% correct on test images of all classes",
    "train_forget_accuracy": "% correct on the forget set",
    "train_retain_accuracy": "% correct on samples of the retain set",
    "tow": "tug-of-war: 1 where forget set, retain set and validation images fare as retrained",
    "test_tow": "the same with test images",
    "neighbour_gap": "total variation to the retrained model's classes on forget images, 0 to 1",
    "kl_forget": "KL(retrained || model) on validation images of the forget classes, nats",
    "kl_retain": "KL(retrained || model) on validation images of the other classes, nats",
    "js_forget": "Jensen-Shannon divergence to the retrained model, likewise",
    "js_retain": "Jensen-Shannon divergence to the retrained model, likewise",
    "forget_entropy": "mean entropy of the outputs on the forget set, nats",
    "zrf": "1 - JS divergence to an untrained network on the forget set",
    "weight_distance": "L2 distance of the weights to the retrained model's",
    "relative_weight_distance": "the same over the norm of the retrained model's weights",
    "anamnesis_index": "relearning steps over the retrained model's (--metrics anamnesis)",
    "relearn_steps": "steps until the forget classes are known again",
    "relearn_seconds": "seconds that took: what measuring the index costs",
    "relearn_capped": "1 where relearning was given up at the cap, and the index is a bound",
    "synthetic_forget_accuracy": "% of synthetic images of the forget classes still called so",
    "synthetic_retain_accuracy": "% of all other synthetic images still called what they were",
    "synthetic_gap": "mean distance of these two to 0 and 100, in points",
    "synthetic_retain_kl": "KL(base || model) on the latter, nats",
}
"""Every metric's column (without its `m_`) and meaning. The `test_` ones never steer a search."""


EXPENSIVE = ("anamnesis", "synthetic")
"""Groups of metrics that are measured only where they are asked for."""

CURVE = (
    *("seconds", "forget_accuracy", "retain_accuracy", "mia", "gap", "probe_gap"),
    *("synthetic_forget_accuracy", "synthetic_retain_accuracy", "synthetic_gap"),
)
"""What a curve can hold for each phase or epoch: seconds of unlearning so far, the metrics of these
names on validation images where there is data, and the synthetic ones where they are measured."""


TOGETHER, OUTCOMES = "_together", "outcomes"
"""Keys of a Ray Tune trial that is several of ours: their configs, and their results."""


@dataclass(frozen=True)
class Outcome:
    """One trial's end. Times are seconds, `started` and `finished` seconds since 1970 (UTC).

    `prepare_seconds` is what the artifacts that the method needs cost when they were built;
    `unlearn_seconds` the method's own work, drawing from trained generators included;
    `evaluate_seconds` all evaluation, that of the curve included. `curve` has, where it was asked
    for, an entry with keys of `CURVE` for each phase or epoch of the method. `zero_shot` says
    whether the method needed nothing but the base model; `reported` is what the method reported.
    `peak_memory_mb` is the most that the trial held of a GPU's memory, `device_memory_mb` all there
    is (None on a CPU). `class_accuracy` and `test_class_accuracy` are percent correct on validation
    and on test images of each class (None for a class without any), empty where there is no data.
    `together` is how many trials shared their steps; `unlearn_seconds` is then this one's share.
    `saved_seconds` is what the trial would have taken besides on a worker that had just started: to
    set up what trials share, and to draw its samples where they were cut from a pool, which
    `unlearn_seconds` counts as if they had been drawn (negative where it drew for later ones too).
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
    device_memory_mb: float | None = None
    host: str | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    zero_shot: bool = False
    reported: dict[str, Any] = field(default_factory=dict)
    class_accuracy: list[float | None] = field(default_factory=list)
    test_class_accuracy: list[float | None] = field(default_factory=list)
    together: int = 1
    saved_seconds: float = 0.0
