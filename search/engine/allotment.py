"""What a trial holds of a machine, and how many run at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from search.definition.spec import StudySpec
from search.engine.machines import fit, on_a_cluster, resources
from trainables.errors import InvalidRequest


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
