"""What steers a study: the metrics of its objectives, and what the sampler is told of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optuna.trial import TrialState

from search.definition.spec import StudySpec, probed
from search.store.results import Row
from trainables.outcome import State

WORST = {"forget_accuracy": 100.0, "retain_accuracy": 0.0, "gap": 100.0, "probe_gap": 100.0} | {
    "synthetic_forget_accuracy": 100.0,
    "synthetic_retain_accuracy": 0.0,
}
"""What a diverged or starved trial is told to the sampler as, so that it learns to stay away."""

OBJECTIVES = {
    "pareto": ("forget_accuracy", "retain_accuracy"),
    "gap": ("gap",),
    "synthetic": ("synthetic_forget_accuracy", "synthetic_retain_accuracy"),
}
"""The metrics that steer a study; on validation images, or on synthetic ones. Where the probe is a
term of the gap, that gap stands for the usual one: see `steering`."""

DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {
    "forget_accuracy": "minimize",
    "retain_accuracy": "maximize",
    "gap": "minimize",
    "probe_gap": "minimize",
    "synthetic_forget_accuracy": "minimize",
    "synthetic_retain_accuracy": "maximize",
}


def steering(spec: StudySpec) -> tuple[str, ...]:
    """The metrics that steer this study."""
    names = OBJECTIVES[spec.objective]
    return tuple("probe_gap" if name == "gap" and probed(spec) else name for name in names)


@dataclass(frozen=True)
class Verdict:
    """What the sampler is told of a trial; constraints of 0 or less are met."""

    state: TrialState
    values: list[float] | None
    constraints: dict[str, float]


def verdict(spec: StudySpec, row: Row) -> Verdict:
    """What the sampler is told of a settled row."""
    names = steering(spec)
    constraints = {} if spec.mia_tolerance is None else {"mia": row["c_mia"]}
    match State(row["state"]):
        case State.COMPLETE:
            values = [row[f"m_{name}"] for name in names]
            return Verdict(TrialState.COMPLETE, values, constraints)
        case State.PRUNED if told := reported(spec, row):
            return Verdict(TrialState.PRUNED, [told[len(told)]], constraints)
        case State.DIVERGED | State.STARVED:
            worst = [WORST[name] for name in names]
            return Verdict(TrialState.COMPLETE, worst, dict.fromkeys(constraints, 100.0))
    return Verdict(TrialState.FAIL, None, {})


def reported(spec: StudySpec, row: Row) -> dict[int, float]:
    """Phase -> what a pruner was told of it, had there been reports."""
    names = steering(spec)
    values = row.get(f"curve_{names[0]}") if len(names) == 1 else None
    return dict(enumerate(values or [], start=1))
