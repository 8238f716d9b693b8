"""How far the scheduling goes: trials of a second on more and more nodes, longer ones on more and
more workers, and many trials in a row.

    python benchmarks/scale.py [--nodes 1 2 4] [--workers 25 50 100] [--many 10000]

Nodes are raylets of this machine with two logical CPUs each, trials sleep and import no torch.
Efficiency is the share of the workers' time, from the first trial's start to the last one's end,
that was trial time. The many workers belong to one raylet and take long to start, 100 MB and a
second of a core each, so there it counts from when all of them run to when the first has nothing
left to do; beside it stands what the driver needed of a core for each trial. Of the long study:
seconds and the driver's resident memory after each thousand trials, and how long `forgetune best`
takes over it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faults

CPUS_PER_NODE = 2
TRIALS_PER_WORKER = 20

LONG_SECONDS = 25.0
LONG_TRIALS_PER_WORKER = 10
STARTING_WORKERS = 15
"""Trials of the many workers: so long, so many each, and one more each for so many workers that
start, since they run while others still start."""

MANY_WORKERS = {
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_register_timeout_seconds": "1200",
}
"""Ray starts workers in advance, all at once, and soon gives up those that take long."""


def sleeper(seconds: float) -> Any:
    """A trainable that sleeps."""
    from ray import tune

    class Sleeper(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            started = time.time()
            time.sleep(seconds)
            return {
                **dict.fromkeys(("forget_accuracy", "retain_accuracy", "mia", "gap"), 0.0),
                **{"state": "complete", "method": "mugan", "hyperparameters": {}},
                **{"seed": self.config["seed"], "started": started, "finished": time.time()},
                "host": str(os.getpid()),  # tells the workers apart
                "done": True,
            }

    return Sleeper


class Watch(faults._Nobody):
    """Prints time and memory after each thousand trials."""

    def __init__(self, every: int) -> None:
        self._every, self._done, self._since = every, 0, time.monotonic()

    def settled(self, row: Any) -> None:
        self._done += 1
        if self._done % self._every == 0:
            now = time.monotonic()
            per_trial = (now - self._since) / self._every * 1e3
            print(
                f"  {self._done:,} trials: {per_trial:.1f} ms each, {_memory():.0f} MB", flush=True
            )
            self._since = now


class Meter(faults._Nobody):
    """Notes (seconds since 1970, the driver's processor seconds) as each trial settles."""

    def __init__(self) -> None:
        self.notes: list[tuple[float, float]] = []

    def settled(self, row: Any) -> None:
        self.notes.append((time.time(), time.process_time()))


def while_all_run(rows: list[dict[str, Any]], notes: list[tuple[float, float]]) -> str:
    """Efficiency, and what the driver did, between the start of the last worker's first trial and
    the end of the first worker's last one."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        span = (row["started"].timestamp(), row["finished"].timestamp())
        spans.setdefault(row["host"], []).append(span)
    since = max(min(own)[0] for own in spans.values())
    until = min(max(own)[1] for own in spans.values())
    spent = [cpu for at, cpu in notes if since <= at <= until]
    if len(spent) < 2:
        return f"{len(spans)} workers never ran all at once"
    shared = [min(end, until) - max(begin, since) for own in spans.values() for begin, end in own]
    busy = sum(max(0.0, seconds) for seconds in shared)
    per_trial = (spent[-1] - spent[0]) / (len(spent) - 1)
    return (
        f"{len(spans)} workers ran for {until - since:.0f} s, efficiency "
        f"{busy / (until - since) / len(spans):.1%}; {len(spent)} trials settled, "
        f"{per_trial * 1e3:.1f} ms of the driver's processor each, {_memory():.0f} MB"
    )


def _memory() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def drive(root: Path, trials: int, workers: int, seconds: float, address: str | None) -> None:
    """One study in this process; prints what came of it."""
    import ray

    from search.engine import connection, scheduling
    from search.engine.allotment import Allotment
    from search.ledger.ledger import Ledger
    from search.store import results

    connection.start_ray(address)
    watch = Watch(1_000) if seconds == 0 else Meter()
    with Ledger(faults._spec("s", trials), root, "scale") as ledger:
        allotment = Allotment(cpus=1, gpus=0.0, workers=workers)
        scheduling.run_trials(ledger, sleeper(seconds), allotment, watch)
        ledger.compact()
    rows = results.scan(root, "s").to_pylist()
    begun = min(row["started"] for row in rows)
    span = (max(row["finished"] for row in rows) - begun).total_seconds()
    busy = sum((row["finished"] - row["started"]).total_seconds() for row in rows)
    if isinstance(watch, Meter):
        print(
            f"{workers} workers, {trials} trials of {seconds:g} s: {span:.1f} s, "
            f"efficiency {busy / span / workers:.1%}",
            flush=True,
        )
        print(f"  {while_all_run(rows, watch.notes)}", flush=True)
    ray.shutdown()


def on_a_cluster(nodes: int, cpus: int, trials: int, seconds: float) -> None:
    """A study, driven by a process of its own, on so many nodes of so many CPUs each."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": faults._here()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cluster = faults.Cluster(Path(folder))
        try:
            cluster.start(nodes, cpus)
            told = [f"{folder}/results", str(trials), str(nodes * cpus), str(seconds)]
            command = [sys.executable, __file__, "--drive", *told, cluster.address]
            subprocess.run(command, env=environment, check=True)
        finally:
            cluster.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--workers", type=int, nargs="*", default=[25, 50, 100])
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--drive", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        root, trials, workers, seconds, address = given.drive
        drive(Path(root), int(trials), int(workers), float(seconds), address or None)
        return
    for nodes in given.nodes:
        workers = nodes * CPUS_PER_NODE
        on_a_cluster(nodes, CPUS_PER_NODE, workers * TRIALS_PER_WORKER, 1.0)
    os.environ.update(MANY_WORKERS)
    for workers in given.workers:
        each = LONG_TRIALS_PER_WORKER + workers // STARTING_WORKERS
        on_a_cluster(1, workers, workers * each, LONG_SECONDS)
    if given.many:
        with tempfile.TemporaryDirectory() as folder:
            told = [folder, str(given.many), "2", "0", ""]
            subprocess.run([sys.executable, __file__, "--drive", *told], check=True)
            begun = time.perf_counter()
            best = ["-c", "from search.cli import main; main()", "best", "--results", folder]
            subprocess.run([sys.executable, *best], check=True, stdout=subprocess.DEVNULL)
            print(f"`forgetune best` over them: {time.perf_counter() - begun:.2f} s")


if __name__ == "__main__":
    main()
