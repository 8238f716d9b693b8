"""What Ray Tune 2.60 must be told so that it runs our trials and does no more, each with its
reason."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler

from search.engine.allotment import Allotment
from search.engine.searcher import SLOT

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

FORGET_EVERY = 100
"""Trials that are over before Tune is made to forget them."""


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
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
def without_errors_of(name: str) -> Iterator[None]:
    """A logger that is quiet for a while: in the end Tune lists trials that failed as an error."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def slot_resources(allotment: Allotment) -> Callable[[dict[str, Any]], tune.PlacementGroupFactory]:
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
