"""What is known of a study from its folder alone, whether it runs or not."""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from search.analysis.best import by_gap
from search.store import results
from search.store.mirror import Lease, mirror_of
from trainables.outcome import State


@dataclass(frozen=True)
class Status:
    """`seconds_left` is None when nobody runs the study or nothing has settled since it began."""

    name: str
    target: int | None
    settled: int
    states: dict[str, int]
    running: int
    holder: str | None
    seconds_left: float | None
    best: results.Row | None
    damaged: list[results.Damage]
    advice: str | None = None


def status(root: Path, name: str) -> Status:
    """The state of one study. Raises InvalidRequest if there is none of this name."""
    folder = results.existing(root, name)
    table, damaged = results.read_study(folder)
    described = results.described(folder)
    target = described.get("target")
    holder = _holder(folder)
    running = set() if holder is None else _running(folder)
    # What runs again has a row all the same, until it has another.
    again = pc.is_in(table["number"], pa.array(sorted(running), pa.int64()))
    settled = table.filter(pc.invert(again))
    best = by_gap(settled, 1).to_pylist()
    return Status(
        name=name,
        target=target,
        settled=settled.num_rows,
        states=dict(Counter(settled["state"].to_pylist())),
        running=len(running),
        holder=None
        if holder is None
        else f"process {holder.get('pid', '?')} on {holder.get('host', '?')}",
        seconds_left=None if holder is None else _seconds_left(settled, target, holder),
        best=best[0] if best else None,
        damaged=damaged,
        advice=_advice(table),
    )


CONTEXT_MB = 600.0
MARGIN = 1.2
"""What a process holds of a GPU's memory beside its tensors, about, and how much more than these
its allocator takes."""


def _advice(table: pa.Table) -> str | None:
    """How many trials fit on a GPU, from what the largest took; None where none ran on one."""
    peak, whole = pc.max(table["peak_memory_mb"]).as_py(), pc.min(table["device_memory_mb"]).as_py()
    if peak is None or whole is None:
        return None
    fit = int(whole // (MARGIN * peak + CONTEXT_MB))
    told = f"the largest trial took {peak:,.0f} of {whole:,.0f} MB of GPU memory"
    if fit < 2:
        return f"{told}: one at a time fits"
    return f"{told}: {fit} fit on a GPU (--gpus-per-trial {math.floor(1000 / fit) / 1000:g})"


def _holder(folder: Path) -> dict[str, Any] | None:
    """Who runs the study, if anyone does: the kernel's lock says, not a file left behind."""
    mirror = mirror_of(folder)
    if mirror is not None:
        elsewhere = Lease(folder, mirror).holder()
        if elsewhere is not None and elsewhere.host != socket.gethostname():
            return {"pid": elsewhere.pid, "host": elsewhere.host}
    lock = folder / "lock"
    if not lock.exists():
        return None
    try:
        with FileLock(lock, timeout=0):
            return None
    except Timeout:
        return results.load_json(folder / "running.json") or {}
    except OSError:
        return None


def _running(folder: Path) -> set[int]:
    """Numbers of trials that were asked and have not settled, from Optuna's journal."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        study = optuna.load_study(study_name=None, storage=storage)
    except (ValueError, KeyError, OSError):
        return set()
    asked = optuna.trial.TrialState.RUNNING
    return {trial.number for trial in study.get_trials(deepcopy=False) if trial.state == asked}


def _seconds_left(table: pa.Table, target: int | None, holder: dict[str, Any]) -> float | None:
    since = holder.get("since")
    if target is None or since is None:
        return None
    begun = pa.scalar(results.timestamp(since), pa.timestamp("us", tz="UTC"))
    recent = table.filter(pc.greater_equal(table["started"], begun))
    if recent.num_rows == 0:
        return None
    first = pc.min(recent["started"]).as_py().timestamp()
    pace = (time.time() - first) / recent.num_rows
    return float(max(0.0, pace * (target - table.num_rows)))


def failed(states: Mapping[str, int]) -> int:
    """How many trials ended in a state other than `complete` and `pruned`."""
    expected = (State.COMPLETE, State.PRUNED)
    return sum(count for state, count in states.items() if state not in expected)
