"""Tune's callback and stopper: trials settle as they end, crashes are held back, runs are ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

from ray import tune
from ray.tune.result import NODE_IP

from search.engine.crashes import crash_of
from search.engine.machines import MachineRefused
from search.engine.observer import Observer
from search.engine.searcher import LedgerSearcher
from search.ledger.ledger import Ledger
from search.ledger.rows import crashed, given_up
from search.ledger.suspicion import Held
from search.ledger.ticket import Ticket
from search.store.results import Row
from trainables.errors import InvalidRequest
from trainables.outcome import METRICS, OUTCOMES, Outcome, State


class SettlingCallback(tune.Callback, tune.Stopper):
    """Settles each trial in the ledger as it ends, and stops the run if that fails."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __init__(
        self,
        searcher: LedgerSearcher,
        ledger: Ledger,
        observer: Observer,
        deadline: float = float("inf"),
    ) -> None:
        self._searcher = searcher
        self._ledger = ledger
        self._observer = observer
        self._started: dict[str, float] = {}
        self._ended: list[tuple[Ticket, int, Outcome, str]] = []
        self._pruned: dict[str, int] = {}
        self._deadline = deadline
        self._awaited: set[str] = set()
        self._suspects: set[str] | None = None
        self.given_up: InvalidRequest | None = None
        self.interrupted = False
        self.refusal: MachineRefused | None = None
        self.refused: set[str] = set()

    def interrupt(self) -> None:
        """Ctrl-C: let running trials finish; again: do not wait for them."""
        again, self.interrupted = self.interrupted, True
        if again:
            self._awaited = set()
        else:
            self._close("interrupted (Ctrl-C again stops them now)")

    def refuse(self, refusal: MachineRefused) -> None:
        """Let running trials finish; what comes from this machine does not count."""
        self.refused.add(refusal.address)
        self.refusal = self.refusal or refusal
        if not self._searcher.closing:
            self._close(f"the machine {refusal.address} cannot take part")

    def _close(self, why: str) -> None:
        """Begin no more trials; end when those that run now have ended."""
        self._searcher.closing = True
        self._awaited = set(self._searcher.running)
        self._observer.closing(len(self._awaited), why)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._started[trial.trial_id] = time.time()
        self._searcher.begin(trial.trial_id)
        for ticket in self._searcher.tickets(trial.trial_id):
            self._observer.started(ticket)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        tickets, slot = self._forget(trial)
        outcomes = _outcomes(trial.last_result)
        if not outcomes:
            return  # stopped before it had a result: it stays asked, and is run again
        if trial.last_result.get(NODE_IP) in self.refused:
            return
        pruned_at = self._pruned.pop(trial.trial_id, None)
        for ticket, outcome in zip(tickets, outcomes, strict=False):
            if outcome.state is State.PRUNED:
                if pruned_at is None:
                    return  # stopped between two phases, by nobody who judged it
                reason = f"stopped by {self._ledger.spec.pruner} after phase {pruned_at}"
                outcome = replace(outcome, reason=reason)
            self._ended.append((ticket, slot, outcome, trial.trial_id))
            self._observer.ended(ticket)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        started = self._started.get(trial.trial_id, time.time())
        tickets, _ = self._forget(trial)
        crash = crash_of(trial)
        for ticket in tickets:
            outcome = crashed(self._ledger.spec, ticket, crash.reason, started)
            held = crash.raised and outcome.state is State.CRASHED
            if held and self._hold(Held(ticket, outcome, trial.trial_id, begun=False)):
                continue
            if self._ledger.try_again(ticket):
                self._observer.retried(ticket, crash.reason)
            else:
                outcome = given_up(self._ledger.spec, ticket, crash.reason, started)
                self._end(ticket, outcome, trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        # Writing takes longer than handing a worker its next trial, so that goes first.
        waiting = self._searcher.about_to_start
        self._settle([item for item in self._ended if not waiting[item[1]]])
        if time.monotonic() > self._deadline and not self._searcher.closing:
            self._close("the time budget is over")
        self._consider_giving_up()
        self._observer.tick()

    def settle_rest(self) -> None:
        """Settle what ended in Tune's last step, and, where the run has come to its end, what was
        held back."""
        self._settle(list(self._ended))
        suspicion = self._ledger.suspicion
        if self._ledger.exhausted and not self._searcher.closing and self.given_up is None:
            self._lift(last=True)
        elif suspicion and self.given_up is None:
            self._observer.say(f"{len(suspicion)} trials crashed and are run again")

    def _settle(self, ended: list[tuple[Ticket, int, Outcome, str]]) -> None:
        for item in ended:
            self._ended.remove(item)
            ticket, _, outcome, trial_id = item
            self._end(ticket, outcome, trial_id)

    def _end(self, ticket: Ticket, outcome: Outcome, trial_id: str) -> None:
        """Settle a trial, or hold it back while nothing but crashes has been seen."""
        if outcome.state is not State.CRASHED:
            self._lift()
        elif self._hold(Held(ticket, outcome, trial_id)):
            return
        self._guard(partial(self._ledger.settle, ticket, outcome))

    def _hold(self, crashed: Held) -> bool:
        suspicion = self._ledger.suspicion
        held = suspicion.hold(crashed)
        if held:
            self._observer.held(crashed.ticket, crashed.outcome.reason or "")
        if suspicion.hopeless:
            self._lift()
        if suspicion.cause is not None and self._suspects is None:
            self._suspects = set(self._searcher.running)
        return held

    def _lift(self, last: bool = False) -> None:
        """Let go of what was held back: what had not begun is tried again, unless it is the last
        that there is."""
        if self.given_up is not None:
            return
        self._suspects = None
        for each in self._ledger.suspicion.lift():
            if not each.begun and not last and self._ledger.try_again(each.ticket):
                self._observer.retried(each.ticket, each.outcome.reason or "")
            else:
                self._guard(partial(self._ledger.settle, each.ticket, each.outcome))

    def _consider_giving_up(self) -> None:
        """End the run once no trial is left that ran when enough had crashed alike."""
        if self._suspects is None or self._ended or self._searcher.closing:
            return
        if not self._suspects & self._searcher.running:
            self.given_up = InvalidRequest(self._ledger.suspicion.refusal())
            # Where nothing runs, Tune waits for the searcher's next trial, for ten minutes.
            self._searcher.closing = True

    def stop_all(self) -> bool:
        over = self._searcher.closing and not self._awaited & self._searcher.running
        return over or self._searcher.failure is not None or self.given_up is not None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop this trial after the phase that it reports."""
        tickets = self._searcher.tickets(trial_id)
        if result.get("state") != State.PRUNED or not tickets:
            return False
        outcome = _outcome(result)
        try:
            (ticket,) = tickets
            stop = self._ledger.report(ticket, outcome)
        except Exception as error:
            self._searcher.failure = error
            return False
        if stop:
            self._pruned[trial_id] = len(outcome.curve)
        return stop

    def _forget(self, trial: Any) -> tuple[list[Ticket], int]:
        self._started.pop(trial.trial_id, None)
        return self._searcher.forget(trial.trial_id)

    def _guard(self, settle: Callable[[], Row | None]) -> Row | None:
        try:
            row = settle()
        except Exception as error:
            self._searcher.failure = self._searcher.failure or error  # the first says why
            return None
        if row is not None:
            self._observer.settled(row)
        return row


_OUTCOME_FIELDS = {field.name for field in fields(Outcome)} - {"metrics", "state"}


def _outcomes(result: dict[str, Any]) -> list[Outcome]:
    """The outcomes of a trial of Tune's: one, or several that shared their steps, or none yet."""
    found = result.get(OUTCOMES, [result] if "state" in result else [])
    return [_outcome(each) for each in found]


def _outcome(result: dict[str, Any]) -> Outcome:
    """The outcome that a trainable of ours put into its result.

    A phase's result holds metrics too, for other people's schedulers; they are in the curve.
    """
    state = State(result["state"])
    measured = METRICS if state is State.COMPLETE else {}
    return Outcome(
        state=state,
        metrics={name: result[name] for name in measured if name in result},
        **{name: result[name] for name in _OUTCOME_FIELDS if name in result},
    )
