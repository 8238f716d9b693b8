"""Running trials again that have settled (`--retry`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from optuna.trial import FrozenTrial, TrialState, create_trial

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


def counted(rows: Collection[Row]) -> str:
    """`3 crashed, 1 oom`."""
    states = [str(row["state"]) for row in rows]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted({*states}))


def reopened(trial: FrozenTrial) -> FrozenTrial:
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
