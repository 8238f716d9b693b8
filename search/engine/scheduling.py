"""Ray Tune wiring: our searcher, the callback that settles trials, resources.

Everything that works around Ray Tune 2.60 is in this file, with its reason.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.result import NODE_IP
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from search.definition.spec import StudySpec
from search.engine.crashes import crash_of, errors_kept
from search.engine.machines import Fleet, MachineRefused, fit, on_a_cluster, resources
from search.ledger.ledger import Ledger
from search.ledger.rows import crashed, given_up
from search.ledger.suspicion import Held
from search.ledger.ticket import Ticket
from search.store.results import Row
from trainables.errors import InvalidRequest
from trainables.outcome import METRICS, OUTCOMES, TOGETHER, Outcome, State

TUNE_SETTINGS = {
    # No result files of Tune's own and no snapshots of its state: the ledger is the truth.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    # How many trials wait is our searcher's business; by Tune's own rule it would be one.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",
    # The searcher's metric is a placeholder.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # What goes on is shown by our own progress.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # The first Ctrl-C lets running trials finish, which Tune's own handler does not.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
"""Tune is told these through the environment only."""

LOOK_SECONDS = 3.0
"""Time between two looks at which machines there are."""

TICKET = "_ticket"
SLOT = "_slot"

FORGET_EVERY = 100
"""Trials that are over before Tune is made to forget them."""

TRIALS_PER_SLOT = 2
"""One runs and one waits, so that a worker goes from one trial to the next without a pause."""


class Observer(Protocol):
    """Who wants to know how a study goes."""

    def started(self, ticket: Ticket) -> None: ...

    def ended(self, ticket: Ticket) -> None: ...

    def settled(self, row: Row) -> None: ...

    def retried(self, ticket: Ticket, reason: str) -> None: ...

    def held(self, ticket: Ticket, reason: str) -> None: ...

    def tick(self) -> None: ...

    def closing(self, running: int, why: str) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Allotment:
    """What one trial holds, and how many run at once; as many as `fuse` trials share a place.

    `bounded` says that machines have, or may come to have, room for more than `workers`.
    """

    cpus: int
    gpus: float
    workers: int
    fuse: int = 1
    bounded: bool = False


def allot(spec: StudySpec) -> Allotment:
    """What a trial gets, from the specification and the machines that Ray has.

    Raises InvalidRequest for what no machine can give.
    """
    there = resources()
    if not there:
        return _allot_to_come(spec)
    cpus, gpus = spec.resources.cpus_per_trial, spec.resources.gpus_per_trial
    most = {kind: max(machine.get(kind, 0.0) for machine in there) for kind in ("CPU", "GPU")}
    if gpus is None:
        gpus = 1.0 if most["GPU"] >= 1 else 0.0
    for kind, amount, key in (("CPU", cpus, "cpus-per-trial"), ("GPU", gpus, "gpus-per-trial")):
        if amount > most[kind]:
            raise InvalidRequest(
                f"--{key} is {amount:g}, but the largest machine has {most[kind]:g} {kind}s"
            )
    fitting = fit(there, cpus, gpus)
    if not fitting:
        raise InvalidRequest(
            f"no machine has both {cpus} CPUs and {gpus:g} GPUs for a trial (--cpus-per-trial, "
            "--gpus-per-trial)"
        )
    workers = spec.concurrency or fitting
    if not on_a_cluster():  # where machines may still come, more can be asked for
        workers = min(fitting, workers)
    return Allotment(cpus, gpus, workers, _fuse(spec), bounded=workers < fitting)


def alone(allotment: Allotment) -> Allotment:
    """The same with a whole GPU for each trial."""
    # Machines that an autoscaler stopped meanwhile come again for what waits.
    shared = int(allotment.workers * allotment.gpus)
    fitting = max(1, shared, fit(resources(), allotment.cpus, 1.0))
    return replace(allotment, gpus=1.0, workers=min(allotment.workers, fitting), fuse=1)


def _allot_to_come(spec: StudySpec) -> Allotment:
    """The same where all machines are still to be started by the cluster's autoscaler."""
    if spec.concurrency is None or spec.resources.gpus_per_trial is None:
        raise InvalidRequest(
            "the cluster has no machine for trials yet; say what to start: --gpus-per-trial (0 for "
            "none) and --concurrency, the number of trials at once"
        )
    wanted, gpus = spec.resources, spec.resources.gpus_per_trial
    return Allotment(wanted.cpus_per_trial, gpus, spec.concurrency, _fuse(spec), bounded=True)


def _fuse(spec: StudySpec) -> int:
    """What the study says; where it leaves that open, `search.engine.fusing` sees to it."""
    return spec.resources.fuse if isinstance(spec.resources.fuse, int) else 1


def run_trials(
    ledger: Ledger,
    trainable: type[tune.Trainable],
    allotment: Allotment,
    observer: Observer,
    deadline: float = float("inf"),
    fleet: Fleet | None = None,
) -> None:
    """Run trials through Ray Tune until the ledger's target has settled, or none begins any more
    since the `deadline` (of time.monotonic) is past.

    Machines that join a `fleet` meanwhile get trials too, beyond the allotment's if the study does
    not bound its concurrency. The first Ctrl-C lets running trials finish, the second stops them.
    Trials that crash before another one has ended otherwise are held back, and settle when one has
    or when none is left. Raises KeyboardInterrupt after a Ctrl-C, InvalidRequest if the results
    folder can no longer be written or as many trials as the study says crashed alike, and
    MachineRefused, once running trials have finished, for a machine that joined with other
    versions.
    """
    searcher = LedgerSearcher(ledger, allotment)
    callback = SettlingCallback(searcher, ledger, observer, deadline)
    callbacks: list[tune.Callback] = [callback, Silence()]
    if fleet is not None:
        grows = ledger.spec.concurrency is None
        joining = JoiningCallback(fleet, allotment, grows, searcher, callback, observer)
        callbacks.insert(0, joining)  # which must know a machine before its trials settle
    try:
        with (
            _environment(TUNE_SETTINGS),
            _without_errors_of("ray.tune.tune"),
            errors_kept(),
            tempfile.TemporaryDirectory() as scratch,
            _on_interrupt(callback.interrupt),
        ):
            tune.Tuner(
                tune.with_resources(trainable, _slot_resources(allotment)),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=Forgetful(),  # type: ignore[no-untyped-call]
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    storage_path=scratch,
                    verbose=0,
                    callbacks=callbacks,
                    stop=callback,
                    # Class trainables are checkpointed at their end unless told otherwise.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
    except tune.TuneError:
        if searcher.failure is None:
            raise
    callback.settle_rest()
    if searcher.failure is not None:
        raise searcher.failure
    if callback.given_up is not None:
        raise callback.given_up
    if callback.refusal is not None and not ledger.finished:
        raise callback.refusal
    if callback.interrupted:
        raise KeyboardInterrupt


@contextmanager
def _on_interrupt(handle: Callable[[], None]) -> Iterator[None]:
    """Call `handle` at each Ctrl-C, in the body; only the main thread gets such."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: handle())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while; others' use of Tune in this process is left alone."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_errors_of(name: str) -> Iterator[None]:
    """A logger that is quiet for a while: in the end Tune lists trials that failed as an error."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _slot_resources(allotment: Allotment) -> Callable[[dict[str, Any]], tune.PlacementGroupFactory]:
    """Resources that differ from slot to slot by a byte of (logical) memory.

    Tune hands an idle worker to any waiting trial that wants the same resources, even one whose
    own worker is just starting, which it then throws away: trials shorter than the start of a
    worker (seconds) would all run on the first worker, one after the other, and a worker that died
    would never be replaced. With resources of its own each slot keeps its worker.
    """

    made: dict[int, tune.PlacementGroupFactory] = {}  # one for all of a slot: Tune keeps them

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        slot = config[SLOT]
        if slot not in made:
            bundle = {"CPU": float(allotment.cpus), "memory": 1.0 + slot}
            if allotment.gpus:
                bundle["GPU"] = allotment.gpus
            made[slot] = tune.PlacementGroupFactory([bundle])
        return made[slot]

    return resources


class LedgerSearcher(Searcher):
    """Hands the ledger's tickets to Tune; what came of them the callback tells the ledger.

    A trial of Tune's is one of ours, or as many as `fuse` that share its place.
    """

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its Tuner for `Tuner.restore`, which is never used here.
        return {}

    def __init__(self, ledger: Ledger, allotment: Allotment) -> None:
        super().__init__(metric="_", mode="min")
        self._ledger = ledger
        self._fuse = allotment.fuse
        # Where there is room for it, a trial that waits would be given a worker of its own.
        self._most = 1 if allotment.bounded else TRIALS_PER_SLOT
        self.slots = allotment.workers
        self._tickets: dict[str, tuple[list[Ticket], int]] = {}
        self._load: Counter[int] = Counter()
        self.about_to_start: Counter[int] = Counter()
        """How many trials of each slot were handed out that do not run yet."""
        self.running: set[str] = set()
        self.closing = False
        self.failure: Exception | None = None
        """What keeps the ledger from going on. Raised here it would take Tune down with its running
        trials; the callback stops the run in order instead."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if self._ledger.exhausted or self.closing:
            return Searcher.FINISHED
        if self._ledger.suspicion.cause is not None:
            return None  # until a running trial ends otherwise, or the last one has ended
        # Drawing a slot's next trial must not keep its worker from its present one, and a slot that
        # waits for a machine must not keep the others from their next ones.
        idle = (slot for slot in range(self.slots) if not self.about_to_start[slot])
        slot = min(idle, key=self._load.__getitem__, default=None)
        if slot is None or self._load[slot] >= self._most:
            return None
        try:
            tickets = self._draw()
        except Exception as error:
            self.failure = error
            return None
        if not tickets:
            return None
        self._tickets[trial_id] = (tickets, slot)
        self._load[slot] += 1
        self.about_to_start[slot] += 1
        configs = [{**ticket.hyperparameters, "seed": ticket.seed} for ticket in tickets]
        what = configs[0] if self._fuse == 1 else {TOGETHER: configs}
        return {**what, SLOT: slot, TICKET: tickets[0].number}

    def _draw(self) -> list[Ticket]:
        tickets: list[Ticket] = []
        while len(tickets) < self._fuse and (ticket := self._ledger.ask()) is not None:
            tickets.append(ticket)
        return tickets

    def tickets(self, trial_id: str) -> list[Ticket]:
        """What this trial of Tune's is to settle; nothing if it is over."""
        return self._tickets.get(trial_id, ([], 0))[0]

    def begin(self, trial_id: str) -> None:
        """This trial runs from here on."""
        if trial_id not in self.running:
            self.running.add(trial_id)
            self.about_to_start[self._tickets[trial_id][1]] -= 1

    def forget(self, trial_id: str) -> tuple[list[Ticket], int]:
        """This trial is over: its tickets and its slot. Of one that was forgotten, no tickets."""
        if trial_id not in self._tickets:
            return [], 0
        tickets, slot = self._tickets.pop(trial_id)
        self._load[slot] -= 1
        if trial_id in self.running:
            self.running.remove(trial_id)
        else:
            self.about_to_start[slot] -= 1
        return tickets, slot

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The callback does this, which also learns why a trial failed."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Studies are continued from the ledger, never from Tune's own state."""


class Forgetful(FIFOScheduler):
    """First in, first out, in a memory that does not grow with the trials that are over.

    Tune keeps these to the end, 30 kB each, and its own scheduler looks through all of them for one
    to run, several times for each trial.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None of ours: Tune then starts those that wait in the order in which they came."""
        controller = tune_controller._tune_controller
        ended = controller._stopped_trials, controller._failed_trials
        if sum(map(len, ended)) < FORGET_EVERY:
            return
        kept = [trial for trial in controller._trials if not trial.is_finished()]
        # The results that Tune collects in the end, and nobody reads, must be of something.
        controller._trials[:] = kept or controller._trials[-1:]
        controller._live_trials.intersection_update(kept)
        controller._trials_to_cache.clear()
        for trials in ended:
            trials.clear()


class Silence(TrialProgressCallback):
    """Stands where Tune otherwise puts its own, which keeps every trial to the end too, and makes
    up for each a line that it does not print."""

    def on_trial_result(self, *_: Any, **info: Any) -> None: ...

    def on_trial_error(self, *_: Any, **info: Any) -> None: ...

    def on_trial_complete(self, *_: Any, **info: Any) -> None: ...


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


class JoiningCallback(tune.Callback):
    """Takes in the machines that join while trials run."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __init__(
        self,
        fleet: Fleet,
        allotment: Allotment,
        grows: bool,
        searcher: LedgerSearcher,
        settling: SettlingCallback,
        observer: Observer,
    ) -> None:
        self._fleet = fleet
        self._allotment = allotment
        self._grows = grows
        self._searcher = searcher
        self._settling = settling
        self._observer = observer
        self._next = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() < self._next or self._searcher.closing:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        self._take_in(self._fleet.look)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that waits for a place may run on a machine that joined before it has said which
        versions it has; what it gives must not count before."""
        address = trial.last_result.get(NODE_IP)
        if address is not None and address not in self._settling.refused:
            self._take_in(partial(self._fleet.wait_for, address))

    def _take_in(self, look: Callable[[], list[str]]) -> None:
        try:
            joined = look()
        except MachineRefused as refusal:
            self._settling.refuse(refusal)
            return
        before = self._searcher.slots
        if self._grows:
            fitting = self._fleet.fit(self._allotment.cpus, self._allotment.gpus)
            # Where a machine has gone, its slots wait for the next one.
            self._searcher.slots = max(before, fitting)
        for address in joined:
            self._observer.say(f"the machine {address} joined")
        if self._searcher.slots > before:
            self._observer.say(f"{self._searcher.slots * self._allotment.fuse} trials run at once")


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
