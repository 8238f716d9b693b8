"""How far the scheduling goes: trials of a second on more and more nodes, and many trials in a row.

    python benchmarks/scale.py [--nodes 1 2 4] [--many 10000]

Nodes are raylets of this machine with two logical CPUs each, trials sleep and import no torch.
Efficiency is the share of the workers' time, from the first trial's start to the last one's end,
that was trial time. Of the long study: seconds and the driver's resident memory after each
thousand trials, and how long `forgetune best` takes over it.
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


def _memory() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def drive(root: Path, trials: int, workers: int, seconds: float, address: str | None) -> None:
    """One study in this process; prints what came of it."""
    import ray

    from search import results, scheduling
    from search.ledger import Ledger
    from search.scheduling import Allotment

    scheduling.start_ray(address)
    watch = Watch(1_000) if seconds == 0 else faults._Nobody()
    with Ledger(faults._spec("s", trials), root, "scale") as ledger:
        allotment = Allotment(cpus=1, gpus=0.0, workers=workers)
        scheduling.run_trials(ledger, sleeper(seconds), allotment, watch)
        ledger.compact()
    rows = results.scan(root, "s").to_pylist()
    begun = min(row["started"] for row in rows)
    span = (max(row["finished"] for row in rows) - begun).total_seconds()
    busy = sum((row["finished"] - row["started"]).total_seconds() for row in rows)
    if seconds:
        print(
            f"{workers} workers, {trials} trials of {seconds:g} s: {span:.1f} s, "
            f"efficiency {busy / span / workers:.1%}",
            flush=True,
        )
    ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--drive", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        root, trials, workers, seconds, address = given.drive
        drive(Path(root), int(trials), int(workers), float(seconds), address or None)
        return
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": faults._here()}
    for nodes in given.nodes:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            cluster = faults.Cluster(Path(folder))
            cluster.start(nodes, CPUS_PER_NODE)
            workers = nodes * CPUS_PER_NODE
            told = [f"{folder}/results", str(workers * TRIALS_PER_WORKER), str(workers), "1"]
            command = [sys.executable, __file__, "--drive", *told, cluster.address]
            subprocess.run(command, env=environment, check=True)
            cluster.stop()
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
