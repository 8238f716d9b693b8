"""The row that a trial's outcome becomes, and its second copy, which the journal holds; outcomes of
trials that have none."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from search.definition.resolved import scenario_of
from search.definition.spec import StudySpec, probed
from search.ledger.ticket import Ticket
from search.store.results import CLASS_FIELDS, Row, timestamp
from trainables import methods
from trainables.outcome import CURVE, Outcome, State

NO_PROBE = "the probe cannot be measured: the model has no layer that makes logits of features"


def crashed(spec: StudySpec, ticket: Ticket, reason: str, started: float) -> Outcome:
    """What a trial comes to that its worker has no outcome of; `started` is in seconds since
    1970."""
    return Outcome(
        state=State.OOM if "OutOfMemory" in reason else State.CRASHED,
        method=spec.method,
        hyperparameters=ticket.hyperparameters,
        seed=ticket.seed,
        started=started,
        finished=time.time(),
        reason=reason[:500],
    )


def given_up(spec: StudySpec, ticket: Ticket, reason: str, started: float) -> Outcome:
    """What a trial comes to whose worker died in each of its attempts."""
    attempts = ticket.attempt - ticket.first + 1
    said = f"its worker died in each of {attempts} attempts: {reason}"
    return crashed(spec, ticket, said, started)


def judged(spec: StudySpec, outcome: Outcome) -> Outcome:
    """The outcome as it settles: one whose metrics cannot steer the study is none that is
    complete."""
    if not all(math.isfinite(value) for value in outcome.metrics.values()):
        reason = "a metric is not finite"
        outcome = replace(outcome, state=State.DIVERGED, metrics={}, reason=reason)
    if outcome.metrics and probed(spec) and "probe_gap" not in outcome.metrics:
        outcome = replace(outcome, state=State.CRASHED, metrics={}, reason=NO_PROBE)
    return outcome


def row_of(
    spec: StudySpec,
    ticket: Ticket,
    outcome: Outcome,
    *,
    retrained_mia: float,
    class_names: Sequence[str],
    version: str,
) -> Row:
    """The row of a trial. `retrained_mia` (percent) is what the study's tolerance is judged
    against; `class_names` may be empty, where they are not known."""
    scenario = scenario_of(spec)
    found = asdict(outcome)
    metrics, curve = found.pop("metrics"), found.pop("curve")
    reported = found.pop("reported")
    # Typed as the method types them, so that a column has one type whatever the trial's end.
    del found["hyperparameters"]
    hyperparameters = asdict(methods.make(spec.method, ticket.hyperparameters))  # type: ignore[call-overload]
    classes = {name: found.pop(name) or None for name in CLASS_FIELDS.names}
    asked, constraint = ticket.asked, None
    last = metrics or (curve[-1] if outcome.state is State.PRUNED and curve else {})
    if spec.mia_tolerance is not None and "mia" in last:
        constraint = abs(last["mia"] - retrained_mia) - spec.mia_tolerance
    return {
        **found,
        "state": str(outcome.state),
        "started": timestamp(outcome.started),
        "finished": timestamp(outcome.finished),
        "study": spec.name,
        "number": ticket.number,
        "attempt": ticket.attempt,
        "dataset": scenario.dataset,
        "model": scenario.model,
        "forget": ",".join(map(str, scenario.forget)),
        "base_seed": scenario.seed,
        "sampler": spec.sampler,
        "params_json": json.dumps(ticket.hyperparameters, sort_keys=True),
        "version": version,
        **{f"p_{name}": value for name, value in hyperparameters.items()},
        # A column has one type: what may be a word is one there, as "5" of layers.
        **{f"p_{name}": str(hyperparameters[name]) for name in methods.mixed(spec.method)},
        **{f"m_{name}": value for name, value in metrics.items()},
        "c_mia": constraint,
        "objective": spec.objective,
        "gap_terms": ",".join(spec.gap_terms),
        "precision": scenario.precision,
        "forget_names": [class_names[label] for label in scenario.forget] if class_names else None,
        # Clocks of two machines may differ by more than a trial waited.
        "queue_seconds": None if asked is None else max(0.0, outcome.started - asked),
        **classes,
        "reported_json": json.dumps(reported, sort_keys=True) if reported else None,
        **{
            f"curve_{name}": [point[name] for point in curve]
            for name in CURVE
            if curve and name in curve[0]
        },
    }


def as_text(row: Row) -> str:
    """A row as JSON, for the journal."""
    return json.dumps({**row, **{name: row[name].timestamp() for name in ("started", "finished")}})


def from_text(text: str) -> Row:
    """The row that `as_text` wrote."""
    row: dict[str, Any] = json.loads(text)
    for name in ("started", "finished"):
        row[name] = timestamp(row[name])
    return row
