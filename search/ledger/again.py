"""Running trials again that have settled (`--retry`)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

from optuna.trial import FrozenTrial, TrialState, create_trial

from search.ledger.optuna_study import OptunaStudy
from search.ledger.ticket import Ticket
from search.store.results import Row
from trainables.errors import InvalidRequest, unknown
from trainables.outcome import State

STATES = tuple(state for state in State if state is not State.COMPLETE)
"""What may have kept a trial from its metrics, and may be gone the next time."""


def checked(states: Iterable[str]) -> frozenset[State]:
    """The states whose trials are to be run again. Raises InvalidRequest for any other."""
    chosen = list(states)
    for name in chosen:
        if name not in STATES:
            raise InvalidRequest(unknown("state to retry", name, STATES))
    return frozenset(map(State, chosen))


def reopen(study: OptunaStudy, rows: Mapping[int, Row]) -> list[str]:
    """Have Optuna take these settled trials for running ones; notes as of `OptunaStudy.open`.

    It takes no second outcome of a trial, so the journal is written anew, whole.
    """
    return study.rewrite(
        _reopened(trial) if trial.number in rows else trial for trial in study.trials()
    )


def ticket(row: Row) -> Ticket:
    """The next attempt at what settled as this row."""
    attempt = row["attempt"] + 1
    values = json.loads(row["params_json"])
    return Ticket(row["number"], attempt, values, row["seed"], first=attempt)


def counted(rows: Collection[Row]) -> str:
    """`3 crashed, 1 oom`."""
    states = [str(row["state"]) for row in rows]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted({*states}))


def _reopened(trial: FrozenTrial) -> FrozenTrial:
    """A settled trial of Optuna's as one that runs. Its row stays with it until it has another;
    constraints and reports, of which the first count, are the next attempt's."""
    system = {k: v for k, v in trial.system_attrs.items() if not k.startswith("constraints")}
    return create_trial(
        state=TrialState.RUNNING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=system,
    )
