"""How many trials share a place where the study leaves that open (`--fuse auto`)."""

from __future__ import annotations

from collections.abc import Callable

import ray

from search.definition.space import SearchSpace
from search.definition.spec import StudySpec
from search.engine.allotment import Allotment
from trainables import methods
from trainables.training.memory import gpu_bytes

MOST = 16
"""Where starting kernels is all that a step takes, so many are nine times as fast as one after the
other (benchmarks/fusion.py); a searcher that is asked for more at a time learns from fewer."""

MARGIN = 2.0
"""How much more than its model's shape tells a trial may take: samples, a copy of the model, what
the allocator leaves unused."""


def together(spec: StudySpec, allotment: Allotment, training_bytes: Callable[[int], int]) -> int:
    """Trials that share a place: what the study says, or else what suits its GPUs.

    `training_bytes` tells what training takes with a batch size. Asks a GPU for its memory; one on
    a CPU, where sharing gains nothing.
    """
    if isinstance(spec.resources.fuse, int):
        return spec.resources.fuse
    if not allotment.gpus or not methods.is_plan(spec.method):
        return 1
    ask = ray.remote(num_cpus=0, num_gpus=allotment.gpus)(gpu_bytes)
    memory: int | None = ray.get(ask.remote())
    if memory is None:
        return 1
    share = memory * min(1.0, allotment.gpus)
    return fitting(spec, share, training_bytes, allotment.workers)


def fitting(
    spec: StudySpec,
    memory: float,
    training_bytes: Callable[[int], int],
    workers: int,
) -> int:
    """Trials that fit into so many bytes at once; no more than `MOST`, and no more than leave every
    worker an equal part of the study."""
    if spec.pruner != "none" or spec.curves:
        return 1
    space = SearchSpace(spec.method, spec.space)
    sizes = [name for name in methods.hyperparameters(spec.method) if name.endswith("batch_size")]
    largest = max((space.largest(name) for name in sizes), default=1)
    each = MARGIN * training_bytes(largest)
    return max(1, min(MOST, int(memory // each), spec.trials // workers))
