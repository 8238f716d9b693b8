"""The truth about a study's trials: ask, settle, resume. Knows no engine.

A trial is settled when its row is in Parquet. Optuna's journal follows, and holds each row too, so
that either can be rebuilt from the other. One process at a time holds a study.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.definition import samplers
from search.definition.spec import StudySpec, probed
from search.ledger import again
from search.ledger.copies import reconcile
from search.ledger.description import Description
from search.ledger.hold import Hold
from search.ledger.optuna_study import OptunaStudy
from search.ledger.rows import NO_PROBE, given_up, judged, row_of
from search.ledger.steering import steering
from search.ledger.suspicion import Suspicion
from search.ledger.ticket import Ticket
from search.ledger.versions import installed
from search.store import results
from search.store.mirror import remove
from trainables.errors import InvalidRequest
from trainables.outcome import Outcome, State

COMPACT_EVERY = 500
"""Loose parts after which they are joined while a study still runs."""


class Ledger:
    """An open study. Use as a context manager; it is held until closed.

    `spec` must be resolved. Raises StudyHeld if another process holds the study, InvalidRequest
    if the study on disk is another one (with the differences) or the folder cannot be used.
    `notes` says what was found damaged and what was done about it. Trials that settled in one of
    the states of `retry` are handed out again, as they were; until they settle their rows stay as
    they are on disk, but are none of `rows`.
    """

    def __init__(
        self,
        spec: StudySpec,
        root: Path,
        dataset_fingerprint: str,
        retry: Collection[State] = (),
    ) -> None:
        assert spec.name is not None
        self.spec = spec
        self.name = spec.name
        self.folder = results.study_folder(root, spec.name)
        self.notes: list[str] = []
        self._fingerprint = dataset_fingerprint
        self._retry = retry
        self._version = installed("forgetune")
        self._retrained_mia = 0.0
        self._hold = Hold(self.folder, spec.name)
        self._description = Description(self.folder)
        self._optuna = OptunaStudy(spec, self.folder)
        self._tickets: deque[Ticket] = deque()
        self._gaps: deque[int] = deque()  # numbers whose trials are still to be drawn
        self._drawn = 0  # trials in the journal
        self._alone: dict[int, Ticket] = {}
        self._rows: dict[int, results.Row] = {}
        self._beyond = 0  # rows of an earlier, higher target; to count all rows costs with each ask
        self._loose = 0
        self.class_names: Sequence[str] = ()
        """Names of the dataset's classes, if they are known: rows tell those of the forget ones."""
        self.spare_memory = False
        """Whether trials share a GPU, so that one that ran out of memory may have enough alone."""
        self.suspicion = Suspicion(spec.give_up_after)
        most = samplers.limit(spec.sampler, spec.seed, self._optuna.space.distributions)
        self.target = spec.trials if most is None else min(spec.trials, most)
        if self.target < spec.trials:
            self.notes.append(f"the grid has {self.target} points, so {self.target} trials are run")

    def __enter__(self) -> Ledger:
        self._fresh = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._hold.take()
        except OSError as error:
            raise results.unusable(self.folder, error) from error
        try:
            self._open()
        except OSError as error:
            self._hold.release()
            raise results.unusable(self.folder, error) from error
        except BaseException:
            self._hold.release()
            raise
        return self

    def _open(self) -> None:
        if self._hold.lease is not None:
            self._optuna.discard()  # the rows say how things are
        # We hold the study, so what a killed driver was just writing belongs to nobody.
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        space = self._optuna.space
        self.notes += self._description.claim(self.spec, space, self._fingerprint, self.target)
        self.notes += self._optuna.open()
        found = reconcile(self.folder, self._optuna)
        self.notes += found.notes
        self._rows, self._loose = found.rows, found.loose
        self._gaps, self._drawn = found.gaps, found.drawn
        self._tickets = deque(ticket for ticket in found.tickets if ticket.number < self.target)
        self._beyond = sum(number >= self.target for number in self._rows)
        if self._retry:
            self._run_again(self._retry)

    def _run_again(self, states: Collection[State]) -> None:
        """Hand out again what settled in one of these states.

        Until one has settled its row counts for all others, also for the next run if this one is
        interrupted.
        """
        chosen = {
            number: row
            for number, row in sorted(self._rows.items())
            if row["state"] in states and number < self.target
        }
        if not chosen:
            self.notes.append(f"no trial is {' or '.join(sorted(states))}: none is run again")
            return
        self.notes += again.reopen(self._optuna, chosen)
        for number, row in chosen.items():
            del self._rows[number]
            self._tickets.append(again.ticket(row))
        self._tickets = deque(sorted(self._tickets, key=lambda ticket: ticket.number))
        self.notes.append(f"run again: {again.counted(chosen.values())}")

    def __exit__(self, *_: object) -> None:
        try:
            self._hold.withdraw()
            if self._fresh and not self._optuna.trials():
                # Refused before its first trial: leave nothing behind.
                with contextlib.suppress(OSError):
                    remove(self._description.path)
                shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            self._hold.release()

    @property
    def rows(self) -> list[results.Row]:
        """Every settled row, by number."""
        return [self._rows[number] for number in sorted(self._rows)]

    @property
    def settled(self) -> int:
        """Trials up to the target that have settled."""
        return len(self._rows) - self._beyond

    @property
    def finished(self) -> bool:
        return self.settled >= self.target

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out but what is to be run alone or is held back."""
        return self.settled + len(self._alone) + len(self.suspicion) >= self.target

    def hand_out_alone(self) -> bool:
        """From here on, hand out the trials that ran out of memory beside others; whether there
        are any."""
        found = list(self._alone.values())
        self._tickets.extend(found)
        self._alone.clear()
        self.spare_memory = False
        return bool(found)

    def ask(self) -> Ticket | None:
        """The next trial to run, or None while there is none to hand out."""
        ticket = self._next()
        return None if ticket is None else replace(ticket, asked=time.time())

    def _next(self) -> Ticket | None:
        if self._tickets:
            return self._tickets.popleft()
        number = self._gaps[0] if self._gaps else self._drawn
        if number >= self.target:
            return None
        try:
            trial = self._optuna.ask(number)
            if self._gaps:
                self._gaps.popleft()
            else:
                self._drawn += 1
            return self._optuna.ticket(trial)
        except OSError as error:
            raise results.unusable(self.folder, error) from error

    def report(self, ticket: Ticket, outcome: Outcome) -> bool:
        """Note the last point of a running trial's curve; whether the trial is to stop there.

        For studies with one objective. Raises InvalidRequest if the results folder cannot be
        written.
        """
        (name,) = steering(self.spec)
        if name not in outcome.curve[-1]:  # which `settle` tells
            return False
        try:
            value, phase = outcome.curve[-1][name], len(outcome.curve)
            return self._optuna.report(ticket.number, value, phase)
        except OSError as error:
            raise results.unusable(self.folder, error) from error

    def settle(self, ticket: Ticket, outcome: Outcome) -> results.Row | None:
        """Record how a trial ended: Parquet first, then the journal.

        A trial that has settled already is left as it is. One that ran out of memory beside others
        is kept to be run alone, and None is returned. Raises StudyHeld if another machine's driver
        has taken the study over, InvalidRequest if the results folder cannot be written.
        """
        if ticket.number in self._rows:
            return self._rows[ticket.number]
        self._hold.check()
        if outcome.state is State.OOM and self.spare_memory:
            self._alone[ticket.number] = replace(ticket, attempt=ticket.attempt + 1)
            return None
        row = row_of(
            self.spec,
            ticket,
            judged(self.spec, outcome),
            retrained_mia=self._retrained_mia,
            class_names=self.class_names,
            version=self._version,
        )
        results.write_row(self.folder, row)
        self._rows[ticket.number] = row
        self._loose += 1
        try:
            self._optuna.tell(row)
        except OSError as error:
            raise results.unusable(self.folder, error) from error
        if self._loose >= COMPACT_EVERY:
            self.compact()
        return row

    def lost(self, ticket: Ticket, reason: str, started: float) -> results.Row | None:
        """A trial's worker died. Hands the trial out again, or settles it after the last retry.

        Returns the row if it settled. `started` is in seconds since 1970.
        """
        if self.try_again(ticket):
            return None
        return self.settle(ticket, given_up(self.spec, ticket, reason, started))

    def try_again(self, ticket: Ticket) -> bool:
        """Hand a trial out again, unless its retries are used up."""
        left = ticket.attempt - ticket.first < self.spec.retries
        if left:
            self._tickets.append(replace(ticket, attempt=ticket.attempt + 1))
        return left

    def record_references(self, references: Mapping[str, Mapping[str, float]]) -> None:
        """Put the metrics of the base and the retrained model, and of the control, into study.json.

        There are none where there is no data. Raises InvalidRequest where the probe is a term of
        the study's gap and could not be measured.
        """
        if probed(self.spec) and "probe" not in references.get("retrained", {}):
            raise InvalidRequest(f"gap_terms with the probe (--gap-terms): {NO_PROBE}")
        self._retrained_mia = references.get("retrained", {}).get("mia", 0.0)
        self.record({"references": dict(references)})

    def record_preparation(self, spent: Mapping[str, float | None]) -> None:
        """Put into study.json what was built for the study, with its seconds (None: found there).

        What an earlier run of the study had to build stays on record.
        """
        self._description.record_preparation(spent)

    def record_origin(self, origin: Mapping[str, Any]) -> None:
        """Note in study.json what the study was made from, after what it was made from before."""
        self._description.record_origin(origin)

    def record(self, facts: Mapping[str, Any]) -> None:
        """Put what was found out about the study into study.json, under keys of their own."""
        self._description.record(facts)

    def compact(self) -> None:
        """Join the Parquet parts into one file."""
        results.compact(self.folder)
        self._loose = 0
