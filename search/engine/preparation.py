"""Building what a study's trials share, as Ray tasks, in parallel where parts are independent."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ray

from search.definition.space import SearchSpace
from search.definition.spec import StudySpec, measured
from search.engine.allotment import Allotment
from trainables.artifacts.shipping import Shipment
from trainables.errors import ForgetuneError
from trainables.scenario import Places
from trainables.workbench import Workbench, prepare_part

AGAIN_SECONDS = 0.5
"""Time between two attempts to interrupt a part."""

TICK_SECONDS = 1.0
"""Time between two calls of `tick` while parts are built."""

STOP_SECONDS = 5.0
"""What tasks that are stopped are given to end."""


class NotBuilt(ForgetuneError):
    """Something that trials share could not be built, for a reason that is none of ours."""


Report = Callable[[str, dict[str, Any], int, int], None]
"""Told the name of each part as it is there, what came of it, how many are done, of how many."""


def parts(bench: Workbench, spec: StudySpec) -> list[list[str]]:
    """Names of the artifacts that the study's trials can need, in stages."""
    space = SearchSpace(spec.method, spec.space)
    return bench.prerequisites(space.needs, measured(spec), space.largest("generators") or 0)


def prepare(
    bench: Workbench,
    spec: StudySpec,
    places: Places,
    allotment: Allotment,
    report: Report,
    tick: Callable[[], None],
    shipment: Shipment | None = None,
) -> dict[str, float | None]:
    """See that every artifact of the study is there; for each that had to be built the seconds
    that took, for the others None.

    `bench` is this process' own and only looks; the building is done by Ray tasks, each holding
    what a trial holds, and no more of them at once than the study has trials at once. On a GPU,
    which one small network leaves idle, one task trains all generators of a kind at once; CPUs
    train them side by side. `tick` is called now and then meanwhile. Raises the first error of a
    part (DataError, Diverged, GeneratorError; NotBuilt for any other) or of `tick`, and builds no
    further.
    """
    stages = parts(bench, spec)
    spent: dict[str, float | None] = {}
    total = sum(len(stage) for stage in stages)
    task = ray.remote(num_cpus=allotment.cpus, num_gpus=allotment.gpus)(prepare_part)
    # Unless the study bounds it, machines that join meanwhile are to find work.
    most = math.inf if spec.concurrency is None else allotment.workers
    done = 0
    for stage in stages:
        missing = [name for name in stage if not bench.is_prepared(name)]
        done += len(stage) - len(missing)
        spent |= dict.fromkeys(set(stage) - set(missing))
        groups = deque([name] for name in missing)
        if allotment.gpus:
            groups = deque(bench.trained_together(missing))
        running: dict[Any, list[str]] = {}
        try:
            while groups or running:
                while groups and len(running) < most:
                    names = groups.popleft()
                    given = (bench.scenario, places, names, allotment.cpus, shipment)
                    running[task.remote(*given)] = names
                ready, _ = ray.wait(list(running), num_returns=1, timeout=TICK_SECONDS)
                tick()
                if not ready:
                    continue
                built = _result(ready[0], running.pop(ready[0]))
                for name, found in built.items():
                    done += 1
                    # Another study may have built it meanwhile.
                    spent[name] = None if found["origin"] == "cached" else found["seconds"]
                    report(name, found, done, total)
        finally:
            _stop(list(running))
    return spent


def _stop(tasks: list[Any]) -> None:
    """End tasks that nobody waits for any more.

    Each is interrupted, as by Ctrl-C, and may tidy up. To kill their workers (`force`) may take
    this process down with them: a check of Ray's own fails.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while tasks and time.monotonic() < deadline:
        for task in tasks:  # again and again: one that is just beginning may not hear it
            ray.cancel(task, force=False)
        _, tasks = ray.wait(tasks, num_returns=len(tasks), timeout=AGAIN_SECONDS)


def _result(reference: Any, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = ray.get(reference)
        return found
    except ray.exceptions.RayError as error:
        # Ray's error carries a traceback; ours says what is wrong in one line.
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(cause, ForgetuneError):
            raise cause from None
        said = " ".join(str(cause).split())[:300]
        what = ", ".join(names)
        raise NotBuilt(f"{what} cannot be built: {type(cause).__name__}: {said}") from error
