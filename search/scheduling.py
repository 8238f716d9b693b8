"""Ray Tune wiring: our searcher, the callback that settles trials, resources.

Everything that works around Ray 2.60 is in this file, with its reason.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.ledger import Ledger, Ticket
from search.results import Row
from search.spec import StudySpec
from search.versions import installed
from trainables.errors import InvalidRequest
from trainables.outcome import METRICS, Outcome, State
from trainables.scenario import Places, Scenario
from trainables.shipping import Shipment

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
    # The first Ctrl-C lets running trials finish, which Tune's own handler does not.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
"""Tune is told these through the environment only."""

VERSIONS_SECONDS = 120.0
"""How long a machine may take to say which versions it has."""

TICKET = "_ticket"
SLOT = "_slot"

TRIALS_PER_SLOT = 2
"""One runs and one waits, so that a worker goes from one trial to the next without a pause."""


class Observer(Protocol):
    """Who wants to know how a study goes."""

    def started(self, ticket: Ticket) -> None: ...

    def ended(self, ticket: Ticket) -> None: ...

    def settled(self, row: Row) -> None: ...

    def retried(self, ticket: Ticket, reason: str) -> None: ...

    def tick(self) -> None: ...

    def closing(self, running: int, why: str) -> None: ...


@dataclass(frozen=True)
class Allotment:
    """What one trial holds, and how many run at once."""

    cpus: int
    gpus: float
    workers: int


def start_ray(address: str | None = None) -> None:
    """Start Ray on this machine unless this process is connected already; or connect to the cluster
    at `address` ("auto": the one that this machine belongs to).

    Raises InvalidRequest if there is no cluster there.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        ray.init(include_dashboard=False, **quiet)
        return
    if address.startswith("ray://"):
        raise InvalidRequest(
            "a study is driven from inside its cluster, so that it outlives this machine's "
            "connection: `forgetune submit` sends it there"
        )
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise InvalidRequest(f"no Ray cluster at {address}: {why}") from None


def check_versions() -> None:
    """Raises InvalidRequest if a machine of the cluster has other versions than this one: numbers
    would differ, or trials crash in the middle."""
    mine = _versions()
    for node in _machines():
        where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked = ray.remote(num_cpus=0)(_versions).options(scheduling_strategy=where).remote()
        try:
            theirs = ray.get(asked, timeout=VERSIONS_SECONDS)
        except (ray.exceptions.RayError, ImportError) as error:
            why = " ".join(str(error).split())[-200:]
            raise InvalidRequest(
                f"the machine {node['NodeManagerAddress']} cannot run trials; is forgetune "
                f"{mine['forgetune']} installed there? ({why})"
            ) from None
        other = [f"{name} {theirs[name]} (here {mine[name]})" for name in mine
                 if theirs[name] != mine[name]]  # fmt: skip
        if other:
            raise InvalidRequest(
                f"the machine {node['NodeManagerAddress']} has other versions: {', '.join(other)}"
            )


def _versions() -> dict[str, str]:
    import platform

    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: installed(name) for name in ("forgetune", "torch", "ray")}}


def _machines() -> list[dict[str, Any]]:
    """The nodes that can run something."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


class Depot:
    """Serves this machine's artifacts to the cluster's others while it is open. A context manager
    that gives the shipment for their workers; None where there is no other machine."""

    def __init__(self, scenario: Scenario, places: Places) -> None:
        self._scenario, self._places = scenario, places

    def __enter__(self) -> Shipment | None:
        from trainables.remote import Remote
        from trainables.shipping import pack
        from trainables.trainable import DepotActor, RayDepot

        self._shipment: Shipment | None = None
        me = ray.get_runtime_context().get_node_id()
        if all(node["NodeID"] == me for node in ray.nodes() if node["Alive"]):
            return None
        if self._places.depot is not None:
            depot: Any = Remote(self._places.depot)
        else:
            name = f"forgetune-depot-{uuid.uuid4().hex[:12]}"
            here = NodeAffinitySchedulingStrategy(me, soft=False)
            self._places.artifacts.mkdir(parents=True, exist_ok=True)
            kind = ray.remote(num_cpus=0)(DepotActor)
            options = {"name": name, "scheduling_strategy": here, "max_restarts": -1}
            self._actor = kind.options(**options).remote(self._places.artifacts)
            depot = RayDepot(name)
        self._shipment = pack(self._scenario, self._places, depot)
        return self._shipment

    def __exit__(self, *_: object) -> None:
        from trainables.shipping import unmark

        if self._shipment is not None:
            unmark(self._shipment)


def allot(spec: StudySpec) -> Allotment:
    """What a trial gets, from the specification and the machines that Ray has.

    Raises InvalidRequest for what no machine can give.
    """
    totals = ray.cluster_resources()
    wanted = spec.resources
    most = {
        kind: max((node["Resources"].get(kind, 0.0) for node in _machines()), default=0.0)
        for kind in ("CPU", "GPU")
    }
    if not _machines():
        return _allot_to_come(spec)
    gpus = wanted.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if totals.get("GPU", 0) >= 1 else 0.0
    for kind, amount, key in (
        ("CPU", wanted.cpus_per_trial, "cpus-per-trial"),
        ("GPU", gpus, "gpus-per-trial"),
    ):
        if amount > most[kind]:
            raise InvalidRequest(
                f"--{key} is {amount:g}, but the largest machine has {most[kind]:g} {kind}s"
            )
    fit = int(totals.get("CPU", 0) // wanted.cpus_per_trial)
    if gpus:
        fit = min(fit, int(totals["GPU"] / gpus))
    workers = spec.concurrency or fit
    if not _on_a_cluster():  # where machines may still come, more can be asked for
        workers = min(fit, workers)
    return Allotment(wanted.cpus_per_trial, gpus, max(1, workers))


def alone(allotment: Allotment) -> Allotment:
    """The same with a whole GPU for each trial."""
    workers = max(1, int(allotment.workers * allotment.gpus))
    return replace(allotment, gpus=1.0, workers=workers)


def _allot_to_come(spec: StudySpec) -> Allotment:
    """The same where all machines are still to be started by the cluster's autoscaler."""
    if spec.concurrency is None or spec.resources.gpus_per_trial is None:
        raise InvalidRequest(
            "the cluster has no machine for trials yet; say what to start: --gpus-per-trial (0 for "
            "none) and --concurrency, the number of trials at once"
        )
    return Allotment(spec.resources.cpus_per_trial, spec.resources.gpus_per_trial, spec.concurrency)


def _on_a_cluster() -> bool:
    return len([node for node in ray.nodes() if node["Alive"]]) > 1


def run_trials(
    ledger: Ledger,
    trainable: type[tune.Trainable],
    allotment: Allotment,
    observer: Observer,
    deadline: float = float("inf"),
) -> None:
    """Run trials through Ray Tune until the ledger's target has settled, or none begins any more
    since the `deadline` (of time.monotonic) is past.

    The first Ctrl-C lets running trials finish, the second stops them. Raises KeyboardInterrupt
    after either, and InvalidRequest if the results folder can no longer be written.
    """
    searcher = LedgerSearcher(ledger, allotment.workers)
    callback = SettlingCallback(searcher, ledger, observer, deadline)
    try:
        with (
            _environment(TUNE_SETTINGS),
            tempfile.TemporaryDirectory() as scratch,
            _on_interrupt(callback.interrupt),
        ):
            tune.Tuner(
                tune.with_resources(trainable, _slot_resources(allotment)),
                tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[callback],
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


def _slot_resources(allotment: Allotment) -> Callable[[dict[str, Any]], tune.PlacementGroupFactory]:
    """Resources that differ from slot to slot by a byte of (logical) memory.

    Tune hands an idle worker to any waiting trial that wants the same resources, even one whose
    own worker is just starting, which it then throws away: trials shorter than the start of a
    worker (seconds) would all run on the first worker, one after the other, and a worker that died
    would never be replaced. With resources of its own each slot keeps its worker.
    """

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        bundle = {"CPU": float(allotment.cpus), "memory": 1.0 + config[SLOT]}
        if allotment.gpus:
            bundle["GPU"] = allotment.gpus
        return tune.PlacementGroupFactory([bundle])

    return resources


class LedgerSearcher(Searcher):
    """Hands the ledger's tickets to Tune; what came of them the callback tells the ledger."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its Tuner for `Tuner.restore`, which is never used here.
        return {}

    def __init__(self, ledger: Ledger, slots: int) -> None:
        super().__init__(metric="_", mode="min")
        self._ledger = ledger
        self._slots = slots
        self.tickets: dict[str, tuple[Ticket, int]] = {}
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
        load = Counter(slot for _, slot in self.tickets.values())
        slot = min(range(self._slots), key=lambda index: load[index])
        if load[slot] >= TRIALS_PER_SLOT or self.about_to_start(slot):
            return None  # drawing the next trial must not keep a worker from its present one
        try:
            ticket = self._ledger.ask()
        except Exception as error:
            self.failure = error
            return None
        if ticket is None:
            return None
        self.tickets[trial_id] = (ticket, slot)
        return {**ticket.hyperparameters, "seed": ticket.seed, SLOT: slot, TICKET: ticket.number}

    def about_to_start(self, slot: int) -> bool:
        """Whether a trial was handed to this slot that does not run yet."""
        return any(
            its_slot == slot and trial_id not in self.running
            for trial_id, (_, its_slot) in self.tickets.items()
        )

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The callback does this, which also learns why a trial failed."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Studies are continued from the ledger, never from Tune's own state."""


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
        self._ended: list[tuple[Ticket, int, Outcome]] = []
        self._pruned: dict[str, int] = {}
        self._deadline = deadline
        self._awaited: set[str] = set()
        self.interrupted = False

    def interrupt(self) -> None:
        """Ctrl-C: let running trials finish; again: do not wait for them."""
        again, self.interrupted = self.interrupted, True
        if again:
            self._awaited = set()
        else:
            self._close("interrupted (Ctrl-C again stops them now)")

    def _close(self, why: str) -> None:
        """Begin no more trials; end when those that run now have ended."""
        self._searcher.closing = True
        self._awaited = set(self._searcher.running)
        self._observer.closing(len(self._awaited), why)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._started[trial.trial_id] = time.time()
        self._searcher.running.add(trial.trial_id)
        self._observer.started(self._searcher.tickets[trial.trial_id][0])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        ticket, slot = self._forget(trial)
        if ticket is None or "state" not in trial.last_result:
            return  # stopped before it had a result: it stays asked, and is run again
        outcome = _outcome(trial.last_result)
        pruned_at = self._pruned.pop(trial.trial_id, None)
        if outcome.state is State.PRUNED:
            if pruned_at is None:
                return  # stopped between two phases, by nobody who judged it
            reason = f"stopped by {self._ledger.spec.pruner} after phase {pruned_at}"
            outcome = replace(outcome, reason=reason)
        self._ended.append((ticket, slot, outcome))
        self._observer.ended(ticket)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        started = self._started.get(trial.trial_id, time.time())
        ticket, _ = self._forget(trial)
        if ticket is None:
            return
        reason = _reason(trial)
        row = self._guard(lambda: self._ledger.lost(ticket, reason, started))
        if row is None and self._searcher.failure is None:
            self._observer.retried(ticket, reason)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        # Writing takes longer than handing a worker its next trial, so that goes first.
        ready = [item for item in self._ended if not self._searcher.about_to_start(item[1])]
        self._settle(ready)
        if time.monotonic() > self._deadline and not self._searcher.closing:
            self._close("the time budget is over")
        self._observer.tick()

    def settle_rest(self) -> None:
        """Settle what ended in Tune's last step."""
        self._settle(list(self._ended))

    def _settle(self, ended: list[tuple[Ticket, int, Outcome]]) -> None:
        for item in ended:
            self._ended.remove(item)
            ticket, _, outcome = item
            self._guard(partial(self._ledger.settle, ticket, outcome))

    def stop_all(self) -> bool:
        over = self._searcher.closing and not self._awaited & self._searcher.running
        return over or self._searcher.failure is not None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop this trial after the phase that it reports."""
        if result.get("state") != State.PRUNED or trial_id not in self._searcher.tickets:
            return False
        outcome = _outcome(result)
        try:
            stop = self._ledger.report(self._searcher.tickets[trial_id][0], outcome)
        except Exception as error:
            self._searcher.failure = error
            return False
        if stop:
            self._pruned[trial_id] = len(outcome.curve)
        return stop

    def _forget(self, trial: Any) -> tuple[Ticket | None, int]:
        self._started.pop(trial.trial_id, None)
        self._searcher.running.discard(trial.trial_id)
        return self._searcher.tickets.pop(trial.trial_id, (None, 0))

    def _guard(self, settle: Callable[[], Row | None]) -> Row | None:
        try:
            row = settle()
        except Exception as error:
            self._searcher.failure = error
            return None
        if row is not None:
            self._observer.settled(row)
        return row


_OUTCOME_FIELDS = {field.name for field in fields(Outcome)} - {"metrics", "state"}


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


def _reason(trial: Any) -> str:
    """One line on why a trial's worker died."""
    error = trial.get_pickled_error()
    if error is None:
        return "unknown"
    text = " ".join(str(getattr(error, "cause", None) or error).split())
    return f"{type(error).__name__}: {text}"[:300]
