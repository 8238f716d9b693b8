"""The truth about a study's trials: ask, settle, resume. Knows no engine.

A trial is settled when its row is in Parquet. Optuna's journal follows, and holds each row too, so
that either can be rebuilt from the other. One process at a time holds a study.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import socket
import time
import warnings
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState

from search.definition import pruners, samplers
from search.definition.differing import differences, keeping_split
from search.definition.resolved import scenario_of
from search.definition.space import SearchSpace
from search.definition.spec import StudySpec, probed
from search.ledger import again
from search.ledger.journal import Draft, Journal
from search.ledger.suspicion import Suspicion
from search.ledger.versions import installed
from search.store import results
from search.store.mirror import LEASE_SECONDS, Lease, mirror_of, move, put, remove
from trainables import methods
from trainables.artifacts.files import write_whole
from trainables.errors import ForgetuneError, InvalidRequest
from trainables.outcome import CURVE, Outcome, State

WORST = {"forget_accuracy": 100.0, "retain_accuracy": 0.0, "gap": 100.0, "probe_gap": 100.0} | {
    "synthetic_forget_accuracy": 100.0,
    "synthetic_retain_accuracy": 0.0,
}
"""What a diverged or starved trial is told to the sampler as, so that it learns to stay away."""

COMPACT_EVERY = 500
"""Loose parts after which they are joined while a study still runs."""

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


MADE_FROM = "made_from"
"""Key of study.json: a list of what the study was made from, as the same run may have been asked
for from several studies."""

NO_PROBE = "the probe cannot be measured: the model has no layer that makes logits of features"

ROW = "row"
"""User attribute of an Optuna trial that holds its Parquet row as JSON."""


class StudyHeld(ForgetuneError):
    """Another process is running this study."""


@dataclass(frozen=True)
class Ticket:
    """A trial to be run: its number, which attempt this is (from 1), what to run it with, and when
    it was handed out (seconds since 1970; None: not yet). `first` is the attempt with which it was
    asked for, from which its retries count."""

    number: int
    attempt: int
    hyperparameters: dict[str, Any]
    seed: int
    asked: float | None = field(default=None, compare=False)
    first: int = 1


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
        self._space = SearchSpace(spec.method, spec.space)
        self._tickets: deque[Ticket] = deque()
        self._gaps: deque[int] = deque()  # numbers whose trials are still to be drawn
        self._drawn = 0  # trials in the journal
        self._alone: dict[int, Ticket] = {}
        self._rows: dict[int, results.Row] = {}
        self._beyond = 0  # rows of an earlier, higher target; to count all rows costs with each ask
        self.class_names: Sequence[str] = ()
        """Names of the dataset's classes, if they are known: rows tell those of the forget ones."""
        self.spare_memory = False
        """Whether trials share a GPU, so that one that ran out of memory may have enough alone."""
        self.suspicion = Suspicion(spec.give_up_after)
        self._loose = 0
        self._lease: Lease | None = None
        most = samplers.limit(spec.sampler, spec.seed, self._space.distributions)
        self.target = spec.trials if most is None else min(spec.trials, most)
        if self.target < spec.trials:
            self.notes.append(f"the grid has {self.target} points, so {self.target} trials are run")

    def __enter__(self) -> Ledger:
        self._fresh = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._hold()
        except OSError as error:
            raise results.unusable(self.folder, error) from error
        try:
            # We hold the study, so what a killed driver was just writing belongs to nobody.
            for leftover in self.folder.rglob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            self._check_same_study()
            self._study = self._open_journal()
            self._reconcile()
            if self._retry:
                self._run_again(self._retry)
        except OSError as error:
            self._release()
            raise results.unusable(self.folder, error) from error
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with contextlib.suppress(OSError):
                (self.folder / "running.json").unlink(missing_ok=True)
            if self._fresh and not self._study.get_trials(deepcopy=False):
                # Refused before its first trial: leave nothing behind.
                with contextlib.suppress(OSError):
                    remove(self.folder / "study.json")
                shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            self._release()

    def _release(self) -> None:
        if self._lease is not None:
            with contextlib.suppress(OSError):
                self._lease.release()
        self._lock.release()

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
            self._use_sampler(number)
            trial = self._study.ask()
            if self._gaps:
                self._gaps.popleft()
            else:
                self._drawn += 1
            return self._ticket(trial)
        except OSError as error:
            raise results.unusable(self.folder, error) from error

    def report(self, ticket: Ticket, outcome: Outcome) -> bool:
        """Note the last point of a running trial's curve; whether the trial is to stop there.

        For studies with one objective. Raises InvalidRequest if the results folder cannot be
        written.
        """
        stored = self._stored(ticket.number)
        trial = optuna.trial.Trial(self._study, stored._trial_id)
        (name,) = steering(self.spec)
        if name not in outcome.curve[-1]:  # which `settle` tells
            return False
        try:
            trial.report(outcome.curve[-1][name], step=len(outcome.curve))
            return trial.should_prune()
        except OSError as error:
            raise results.unusable(self.folder, error) from error

    def settle(self, ticket: Ticket, outcome: Outcome) -> results.Row | None:
        """Record how a trial ended: Parquet first, then the journal.

        A trial that has settled already is left as it is. One that ran out of memory beside others
        is kept to be run alone, and None is returned. Raises StudyHeld if another machine's driver
        has taken the study over, InvalidRequest if the results
        folder cannot be written.
        """
        if ticket.number in self._rows:
            return self._rows[ticket.number]
        if self._lease is not None and self._lease.lost:
            raise StudyHeld(
                f"study {self.name} was silent for so long that another driver took it over; what "
                "had settled is kept"
            )
        if outcome.state is State.OOM and self.spare_memory:
            self._alone[ticket.number] = replace(ticket, attempt=ticket.attempt + 1)
            return None
        if not all(math.isfinite(value) for value in outcome.metrics.values()):
            reason = "a metric is not finite"
            outcome = replace(outcome, state=State.DIVERGED, metrics={}, reason=reason)
        if outcome.metrics and probed(self.spec) and "probe_gap" not in outcome.metrics:
            outcome = replace(outcome, state=State.CRASHED, metrics={}, reason=NO_PROBE)
        row = self._row(ticket, outcome)
        results.write_row(self.folder, row)
        self._rows[ticket.number] = row
        self._loose += 1
        try:
            self._tell(row)
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
        return self.settle(ticket, self.given_up(ticket, reason, started))

    def try_again(self, ticket: Ticket) -> bool:
        """Hand a trial out again, unless its retries are used up."""
        left = ticket.attempt - ticket.first < self.spec.retries
        if left:
            self._tickets.append(replace(ticket, attempt=ticket.attempt + 1))
        return left

    def given_up(self, ticket: Ticket, reason: str, started: float) -> Outcome:
        """What a trial comes to whose worker died in each of its attempts."""
        attempts = ticket.attempt - ticket.first + 1
        said = f"its worker died in each of {attempts} attempts: {reason}"
        return self.crashed(ticket, said, started)

    def crashed(self, ticket: Ticket, reason: str, started: float) -> Outcome:
        """What a trial comes to that its worker has no outcome of."""
        return Outcome(
            state=State.OOM if "OutOfMemory" in reason else State.CRASHED,
            method=self.spec.method,
            hyperparameters=ticket.hyperparameters,
            seed=ticket.seed,
            started=started,
            finished=time.time(),
            reason=reason[:500],
        )

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
        before = self._described().get("preparation", {})
        self.record({"preparation": {**spent, **{k: v for k, v in before.items() if v}}})

    def record_origin(self, origin: Mapping[str, Any]) -> None:
        """Note in study.json what the study was made from, after what it was made from before."""
        before = self._described().get(MADE_FROM)
        known = before if isinstance(before, list) else []
        if origin not in known:
            self.record({MADE_FROM: [*known, dict(origin)]})

    def record(self, facts: Mapping[str, Any]) -> None:
        """Put what was found out about the study into study.json, under keys of their own."""
        described = self._described()
        if any(described.get(key) != value for key, value in facts.items()):
            try:
                self._write_description({**described, **facts})
            except OSError as error:
                raise results.unusable(self.folder, error) from error

    def compact(self) -> None:
        """Join the Parquet parts into one file."""
        results.compact(self.folder)
        self._loose = 0

    def _hold(self) -> None:
        self._lock = FileLock(self.folder / "lock")
        holder = self.folder / "running.json"
        try:
            # The kernel drops the lock with its holder, however that died.
            self._lock.acquire(timeout=0.2)  # `status` takes it for a moment
        except Timeout:
            who = results.load_json(holder) or {}
            raise StudyHeld(
                f"study {self.name} is being run by process {who.get('pid', '?')} on "
                f"{who.get('host', '?')}; wait for it, or give this one another --name"
            ) from None
        running = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        try:
            write_whole(holder, json.dumps(running).encode())
            self._take_lease()
        except BaseException:
            self._lock.release()
            raise

    def _take_lease(self) -> None:
        """Of results that other machines see, a lock of this one holds nobody off."""
        mirror = mirror_of(self.folder)
        if mirror is None:
            return
        lease = Lease(self.folder, mirror)
        held = lease.acquire()
        if held is not None:
            raise StudyHeld(
                f"study {self.name} is being run by process {held.pid} on {held.host} (heard of "
                f"{held.age:.0f} s ago); wait for it, or, if it is gone, until it has been silent "
                f"for {LEASE_SECONDS:.0f} s"
            )
        self._lease = lease
        # What this machine knew of running trials may be long past: the rows say how things are.
        (self.folder / "journal.log").unlink(missing_ok=True)

    def _described(self) -> dict[str, Any]:
        return results.load_json(self.folder / "study.json") or {}

    def _check_same_study(self) -> None:
        path = self.folder / "study.json"
        described = self._described()
        mine: dict[str, Any] = {
            "schema": results.SCHEMA_VERSION,
            "spec": self.spec.model_dump(mode="json"),
            "target": self.target,
            "space": self._space.describe(),
            "space_fingerprint": self._space.fingerprint(),
            "dataset_fingerprint": self._fingerprint,
            "versions": {name: installed(name) for name in ("forgetune", "torch", "ray", "optuna")},
        }
        if described:
            before = described.get("spec", {})
            changed = differences(before, mine["spec"])
            for key in ("dataset_fingerprint", "space_fingerprint"):
                if not changed and described.get(key) != mine[key]:
                    changed.append(f"{key}: {described.get(key)} -> {mine[key]}")
                    if key == "space_fingerprint":  # of an earlier version of the method's space
                        changed += _other_bounds(described.get("space"), mine["space"])
            if changed:
                options = keeping_split(before, changed)
                going_on = f", or go on with the validation images it has ({options})"
                raise InvalidRequest(
                    f"study {self.name} exists and is another one ({'; '.join(changed)}); "
                    f"give this one another --name{going_on if options else ''}"
                )
        elif path.exists():
            aside = path.with_name(f"study.json.damaged-{int(time.time())}")
            move(path, aside)
            self.notes.append(f"{path}: not readable; set aside as {aside.name} and written anew")
        self._write_description({**described, **mine})

    def _write_description(self, described: Mapping[str, Any]) -> None:
        put(self.folder / "study.json", json.dumps(described, indent=1).encode())

    def _open_journal(self) -> optuna.Study:
        path = self.folder / "journal.log"
        self._repair_journal(path)
        # We hold the study, so a lock of Optuna's own that lies here belongs to nobody alive.
        for leftover in self.folder.glob("journal.log.lock*"):
            leftover.unlink()
        return self._study_in(Journal(path))

    def _study_in(self, journal: BaseJournalBackend) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        names = list(steering(self.spec))
        study = optuna.create_study(
            storage=JournalStorage(journal),
            study_name=self.name,
            directions=[DIRECTIONS[name] for name in names],
            pruner=pruners.make(self.spec.pruner),
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if study.metric_names != names:  # what Optuna's dashboard calls the objectives
                study.set_metric_names(names)
        return study

    def _repair_journal(self, path: Path) -> None:
        """A torn last line would break Optuna at the next append; a bad one breaks it at once."""
        if not path.exists():
            return
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with path.open("r+b") as file:
                file.truncate(len(whole))
            self.notes.append(f"{path}: the last line was torn and was dropped")
        try:
            for line in whole.splitlines():
                json.loads(line)
        except ValueError:
            aside = path.with_name(f"journal.log.damaged-{int(time.time())}")
            path.rename(aside)
            self.notes.append(f"{path}: damaged; set aside as {aside.name} and rebuilt")

    def _reconcile(self) -> None:
        """Make rows and journal agree; trials that were asked but not settled are run again."""
        table, damaged = results.read_study(self.folder)
        for item in damaged:
            # Out of the folder of trials, which others' readers read whole.
            aside = self.folder / f"{item.path.name}.damaged-{int(time.time())}"
            move(item.path, aside)
            self.notes.append(f"{item}; set aside as {aside.name}")
        self._rows = {row["number"]: dict(row) for row in results.rows_of(table)}
        self._loose = len(list((self.folder / "trials").glob("part-*.parquet")))

        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            row = self._rows.get(trial.number)
            if row is not None and not trial.state.is_finished():
                self._tell(row)
            elif row is None and ROW in trial.user_attrs:
                self._restore(trial.user_attrs[ROW])
            elif row is None and trial.state.is_finished():
                self.notes.append(f"trial {trial.number}: its row is lost; it is run again")
                self._tickets.append(
                    self._ticket(optuna.trial.FixedTrial(trial.params, trial.number))
                )
            elif row is None and trial.state == TrialState.RUNNING:
                self._use_sampler(trial.number)
                interrupted = optuna.trial.Trial(self._study, trial._trial_id)
                self._tickets.append(self._ticket(interrupted))
        for number in range(len(trials), max(self._rows, default=-1) + 1):
            row = self._rows.get(number)
            # A gap is a trial that had not settled; its place is kept and drawn again.
            self._study.add_trial(
                self._frozen(row) if row else optuna.trial.create_trial(state=TrialState.WAITING)
            )
        trials = self._study.get_trials(deepcopy=False)
        self._gaps = deque(t.number for t in trials if t.state == TrialState.WAITING)
        self._drawn = len(trials)
        self._tickets = deque(t for t in self._tickets if t.number < self.target)
        self._beyond = sum(number >= self.target for number in self._rows)

    def _run_again(self, states: Collection[State]) -> None:
        """Hand out again what settled in one of these states.

        Optuna takes no second outcome of a trial, so the journal is written anew, whole, with those
        trials as running ones. Until one has settled its row counts for all others, also for the
        next run if this one is interrupted.
        """
        chosen = {
            number: row
            for number, row in sorted(self._rows.items())
            if row["state"] in states and number < self.target
        }
        if not chosen:
            self.notes.append(f"no trial is {' or '.join(sorted(states))}: none is run again")
            return
        draft = Draft()
        study = self._study_in(draft)
        for trial in self._study.get_trials(deepcopy=False):
            study.add_trial(again.reopened(trial) if trial.number in chosen else trial)
        write_whole(self.folder / "journal.log", draft.content())
        self._study = self._open_journal()
        for number, row in chosen.items():
            del self._rows[number]
            attempt = row["attempt"] + 1
            values = json.loads(row["params_json"])
            self._tickets.append(Ticket(number, attempt, values, row["seed"], first=attempt))
        self._tickets = deque(sorted(self._tickets, key=lambda ticket: ticket.number))
        self.notes.append(f"run again: {again.counted(chosen.values())}")

    def _restore(self, text: str) -> None:
        row = json.loads(text)
        for name in ("started", "finished"):
            row[name] = results.timestamp(row[name])
        results.write_row(self.folder, row)
        self._rows[row["number"]] = row
        self.notes.append(f"trial {row['number']}: its row was restored from the journal")
        self._tell(row)

    def _use_sampler(self, number: int) -> None:
        self._study.sampler = samplers.make(
            self.spec.sampler, self.spec.seed, number, self._space.distributions
        )

    def _ticket(self, trial: optuna.trial.BaseTrial) -> Ticket:
        return Ticket(
            number=trial.number,
            attempt=1,
            hyperparameters=self._space.suggest(trial),
            seed=samplers.derive_seed(self.spec.seed, "unlearning", trial.number),
        )

    def _row(self, ticket: Ticket, outcome: Outcome) -> results.Row:
        scenario = scenario_of(self.spec)
        found = asdict(outcome)
        metrics, curve = found.pop("metrics"), found.pop("curve")
        reported = found.pop("reported")
        # Typed as the method types them, so that a column has one type whatever the trial's end.
        del found["hyperparameters"]
        hyperparameters = asdict(methods.make(self.spec.method, ticket.hyperparameters))  # type: ignore[call-overload]
        classes = {name: found.pop(name) or None for name in results.CLASS_FIELDS.names}
        asked, constraint = ticket.asked, None
        judged = metrics or (curve[-1] if outcome.state is State.PRUNED and curve else {})
        if self.spec.mia_tolerance is not None and "mia" in judged:
            constraint = abs(judged["mia"] - self._retrained_mia) - self.spec.mia_tolerance
        return {
            **found,
            "state": str(outcome.state),
            "started": results.timestamp(outcome.started),
            "finished": results.timestamp(outcome.finished),
            "study": self.name,
            "number": ticket.number,
            "attempt": ticket.attempt,
            "dataset": scenario.dataset,
            "model": scenario.model,
            "forget": ",".join(map(str, scenario.forget)),
            "base_seed": scenario.seed,
            "sampler": self.spec.sampler,
            "params_json": json.dumps(ticket.hyperparameters, sort_keys=True),
            "version": self._version,
            **{f"p_{name}": value for name, value in hyperparameters.items()},
            # A column has one type: what may be a word is one there, as "5" of layers.
            **{f"p_{name}": str(hyperparameters[name]) for name in methods.mixed(self.spec.method)},
            **{f"m_{name}": value for name, value in metrics.items()},
            "c_mia": constraint,
            "objective": self.spec.objective,
            "gap_terms": ",".join(self.spec.gap_terms),
            "precision": scenario.precision,
            "forget_names": [self.class_names[label] for label in scenario.forget]
            if self.class_names
            else None,
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

    def _stored(self, number: int) -> optuna.trial.FrozenTrial:
        """The trial in the journal, without a look at all the others."""
        storage = self._study._storage
        identifier = storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        return storage.get_trial(identifier)

    def _tell(self, row: results.Row) -> None:
        """Tell Optuna, after putting the row into the journal as its second copy."""
        number = row["number"]
        trial = self._stored(number)
        if trial.state.is_finished():
            return
        storage = self._study._storage
        if trial.state == TrialState.WAITING:
            storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        plain = {**row, **{name: row[name].timestamp() for name in ("started", "finished")}}
        storage.set_trial_user_attr(trial._trial_id, ROW, json.dumps(plain))
        state, values, constraints = self._verdict(row)
        for name, value in constraints.items():
            optuna.trial.Trial(self._study, trial._trial_id).set_constraint(name, value)
        if state is TrialState.PRUNED:
            # Optuna takes the value of a pruned trial from its last report, and only from there.
            for phase, value in self._reported(row).items():
                if phase not in trial.intermediate_values:
                    storage.set_trial_intermediate_value(trial._trial_id, phase, value)
            values = None
        self._study.tell(number, values, state=state)

    def _frozen(self, row: results.Row) -> optuna.trial.FrozenTrial:
        """A settled trial for a journal that lost it."""
        params = json.loads(row["params_json"])
        fixed = optuna.trial.FixedTrial(params)
        self._space.suggest(fixed)
        searched = fixed.distributions
        plain = {**row, **{name: row[name].timestamp() for name in ("started", "finished")}}
        state, values, constraints = self._verdict(row)
        return optuna.trial.create_trial(
            state=state,
            values=values,
            params={name: params[name] for name in searched},
            distributions=searched,
            user_attrs={ROW: json.dumps(plain)},
            constraints=constraints,
            intermediate_values=self._reported(row),
        )

    def _reported(self, row: results.Row) -> dict[int, float]:
        """Phase -> what `report` told of it, had there been reports."""
        names = steering(self.spec)
        values = row.get(f"curve_{names[0]}") if len(names) == 1 else None
        return dict(enumerate(values or [], start=1))

    def _verdict(self, row: results.Row) -> tuple[TrialState, list[float] | None, dict[str, float]]:
        """What the sampler is told: state, values, constraints (0 or less is feasible)."""
        names = steering(self.spec)
        constraints = {} if self.spec.mia_tolerance is None else {"mia": row["c_mia"]}
        match State(row["state"]):
            case State.COMPLETE:
                return TrialState.COMPLETE, [row[f"m_{name}"] for name in names], constraints
            case State.PRUNED if reported := self._reported(row):
                return TrialState.PRUNED, [reported[len(reported)]], constraints
            case State.DIVERGED | State.STARVED:
                worst = [WORST[name] for name in names]
                return TrialState.COMPLETE, worst, dict.fromkeys(constraints, 100.0)
        return TrialState.FAIL, None, {}


def _other_bounds(before: Any, after: Mapping[str, str]) -> list[str]:
    """What varies over something else than it did, as two descriptions of a space have it."""
    known = before if isinstance(before, Mapping) else {}
    return [
        f"{name}: {known.get(name, 'fixed')} -> {after.get(name, 'fixed')}"
        for name in sorted({*known, *after})
        if known.get(name) != after.get(name)
    ]


logging.getLogger("filelock").setLevel(logging.ERROR)
