"""What the driver itself costs a trial, with up to thousands of workers that are only pretended.

    python benchmarks/driver.py [--workers 10 100 1000] [--trials 2000] [--sampler random]
        [--profile]

Tune's controller, the ledger, Parquet and Optuna are the real ones; in place of Ray's actors stands
a list of what is due, on a clock that jumps from one event to the next, so that the driver is never
without work. What a cluster adds is left out: messages, placement groups, the fetching of results.
"""

from __future__ import annotations

import argparse
import cProfile
import heapq
import itertools
import os
import pstats
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults


class PretendedWorkers:
    """Has what Tune's controller uses of its actor manager. One worker for each resource request,
    as there is one for each of our slots."""

    def __init__(self, resource_manager: Any) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._waiting: dict[Any, list[Any]] = defaultdict(list)
        self._configs: dict[Any, dict[str, Any]] = {}
        self._requests: dict[Any, Any] = {}
        self._busy: set[Any] = set()
        self._rng = random.Random(0)
        self._live_actors_to_ray_actors_resources: dict[Any, tuple[None, None]] = {}
        self.num_pending_actors = 0
        self.num_actor_tasks = 0

    def add_actor(
        self, cls: Any, kwargs: dict[str, Any], resource_request: Any, **callbacks: Any
    ) -> Any:
        from ray.air.execution._internal import TrackedActor

        actor = TrackedActor(next(self._count), **callbacks)
        self._configs[actor], self._requests[actor] = kwargs["config"], resource_request
        self._waiting[resource_request].append(actor)
        self.num_pending_actors += 1
        self._start(resource_request)
        return actor

    def remove_actor(self, tracked_actor: Any, kill: bool = False, stop_future: Any = None) -> bool:
        request = self._requests[tracked_actor]
        if tracked_actor in self._waiting[request]:
            self._waiting[request].remove(tracked_actor)
            self.num_pending_actors -= 1
            return False
        if tracked_actor not in self._live_actors_to_ray_actors_resources:
            return False
        self._at(0, lambda: self._stop(tracked_actor))
        return True

    def schedule_actor_task(
        self,
        tracked_actor: Any,
        method_name: str,
        args: Any = (),
        kwargs: Any = None,
        on_result: Any = None,
        **_: Any,
    ) -> None:
        if method_name == "reset":
            self._configs[tracked_actor] = args[0]
            self._at(0, lambda: on_result(tracked_actor, True))
        elif method_name == "train":
            result = _result(self._configs[tracked_actor]["seed"])
            self._at(self._rng.uniform(0.5, 1.5), lambda: on_result(tracked_actor, result))

    def next(self, timeout: float | None = None) -> bool:
        if not self._due:
            return False
        self._now, _, happen = heapq.heappop(self._due)
        happen()
        return True

    def is_actor_started(self, tracked_actor: Any) -> bool:
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: Any) -> bool:
        return False

    def get_live_actors_resources(self) -> dict[str, float]:
        return {}

    def clear_actor_task_futures(self, tracked_actor: Any) -> None: ...

    def cleanup(self) -> None: ...

    @property
    def num_live_actors(self) -> int:
        return len(self._live_actors_to_ray_actors_resources)

    @property
    def num_total_actors(self) -> int:
        return self.num_live_actors + self.num_pending_actors

    def _at(self, delay: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._now + delay, next(self._count), happen))

    def _start(self, request: Any) -> None:
        if request in self._busy or not self._waiting[request]:
            return
        self._busy.add(request)
        actor = self._waiting[request].pop(0)
        self.num_pending_actors -= 1
        self._live_actors_to_ray_actors_resources[actor] = (None, None)
        self._at(0, lambda: actor._on_start(actor))

    def _stop(self, actor: Any) -> None:
        del self._live_actors_to_ray_actors_resources[actor]
        self._busy.discard(self._requests[actor])
        if actor._on_stop:
            actor._on_stop(actor)
        self._start(self._requests[actor])


def _result(seed: int) -> dict[str, Any]:
    now = time.time()
    return {
        **dict.fromkeys(("forget_accuracy", "retain_accuracy", "mia", "gap"), 0.0),
        **{"state": "complete", "method": "mugan", "hyperparameters": {}, "seed": seed},
        **{"started": now, "finished": now, "done": True, "training_iteration": 1},
    }


class Stopwatch(faults._Nobody):
    """The driver's seconds for `trials` trials, from the time when each worker has had one."""

    def __init__(self, workers: int, trials: int, profile: cProfile.Profile | None) -> None:
        self._first, self._last, self._settled = workers, workers + trials, 0
        self._profile = profile

    def settled(self, row: Any) -> None:
        self._settled += 1
        if self._settled == self._first:
            self.begun = _clocks()
            if self._profile is not None:
                self._profile.enable()
        elif self._settled == self._last:
            self.ended = _clocks()
            if self._profile is not None:
                self._profile.disable()


def _clocks() -> tuple[float, float]:
    """Seconds of the processor and of the wall."""
    return time.process_time(), time.perf_counter()


def drive(root: Path, trials: int, workers: int, sampler: str, profiled: bool) -> None:
    """One study in this process; prints what a trial of it cost."""
    import ray
    from ray.tune.execution import tune_controller

    from search.definition.reading import validate
    from search.definition.resolving import resolve
    from search.engine import scheduling
    from search.engine.allotment import Allotment
    from search.ledger.ledger import Ledger
    from trainables.scenario import Places

    tune_controller.RayActorManager = PretendedWorkers
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=50)
    profile = cProfile.Profile() if profiled else None
    watch = Stopwatch(workers, trials, profile)
    # Two trials of each worker are handed out before the others end.
    given = {"name": "driver", "trials": trials + 3 * workers, "sampler": sampler}
    with Ledger(resolve(validate(given), Places()), root, "driver") as ledger:
        allotment = Allotment(cpus=1, gpus=0.0, workers=workers)
        scheduling.run_trials(ledger, faults.pretend(), allotment, watch)
    cpu, wall = (
        (end - begin) / trials * 1e3 for begin, end in zip(watch.begun, watch.ended, strict=True)
    )
    print(
        f"{workers:,} workers, {trials:,} trials: {cpu:.1f} ms of the processor each, with waits "
        f"for the disk {wall:.1f} ms: {1e3 / wall:.0f} trials a second at most",
        flush=True,
    )
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        told = (given.trials, given.workers[0], given.sampler, given.profile)
        return drive(Path(given.drive), *told)
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    for workers in given.workers:
        with tempfile.TemporaryDirectory() as folder:
            told = ["--workers", str(workers), "--trials", str(given.trials)]
            told += ["--sampler", given.sampler, "--drive", folder]
            told += ["--profile"] if given.profile else []
            subprocess.run([sys.executable, __file__, *told], env=environment, check=True)


if __name__ == "__main__":
    main()
