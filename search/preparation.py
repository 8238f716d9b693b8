"""Building what a study's trials share, as Ray tasks, in parallel where parts are independent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray

from search.scheduling import Allotment
from search.space import SearchSpace
from search.spec import StudySpec, measured
from trainables import methods
from trainables.errors import ForgetuneError
from trainables.scenario import Places
from trainables.shipping import Shipment
from trainables.workbench import Workbench, prepare_part

TICK_SECONDS = 1.0
"""Time between two calls of `tick` while parts are built."""

Report = Callable[[str, dict[str, Any], int, int], None]
"""Told the name of each part as it is there, what came of it, how many are done, of how many."""


def parts(bench: Workbench, spec: StudySpec) -> list[list[str]]:
    """Names of the artifacts that the study's trials can need, in stages."""
    generators = SearchSpace(spec.method, spec.space).largest("generators") or 0
    needs = methods.make(spec.method, {}).needs
    return bench.prerequisites(needs, measured(spec), generators)


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
    what a trial holds. On a GPU, which one small network leaves idle, one task trains all
    generators of a kind at once; CPUs train them side by side. `tick` is called now and then
    meanwhile. Raises the first error of a part (DataError, Diverged, GeneratorError) or of `tick`,
    and builds no further.
    """
    stages = parts(bench, spec)
    spent: dict[str, float | None] = {}
    total = sum(len(stage) for stage in stages)
    task = ray.remote(num_cpus=allotment.cpus, num_gpus=allotment.gpus)(prepare_part)
    done = 0
    for stage in stages:
        missing = [name for name in stage if not bench.is_prepared(name)]
        done += len(stage) - len(missing)
        spent |= dict.fromkeys(set(stage) - set(missing))
        groups = [[name] for name in missing]
        if allotment.gpus:
            groups = bench.trained_together(missing)
        running = {
            task.remote(bench.scenario, places, names, allotment.cpus, shipment) for names in groups
        }
        try:
            while running:
                ready, _ = ray.wait(list(running), num_returns=1, timeout=TICK_SECONDS)
                tick()
                if not ready:
                    continue
                built = _result(ready[0])
                running.remove(ready[0])
                for name, found in built.items():
                    done += 1
                    # Another study may have built it meanwhile.
                    spent[name] = None if found["origin"] == "cached" else found["seconds"]
                    report(name, found, done, total)
        finally:
            for left in running:
                ray.cancel(left, force=True)
    return spent


def _result(reference: Any) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = ray.get(reference)
        return found
    except ray.exceptions.RayTaskError as error:
        # Ray's error carries a traceback; ours says what is wrong in one line.
        if isinstance(error.cause, ForgetuneError):
            raise error.cause from None
        raise
