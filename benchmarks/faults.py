"""What is lost when things break: studies on a cluster of several nodes, disturbed at random.

    python benchmarks/faults.py [--faults 200] [--trials 60] [--seed 0]

Head and workers are raylet processes of their own on this machine. While studies of pretended
trials run, at random moments (a seed fixes which) a worker process, a node, the driver or the head
is killed (SIGKILL), a node is added, the disk of the results is full or slow for a while. What died
is started again, as a user or an autoscaler would: the driver by the same command. In the end every
trial must have settled exactly once with what an undisturbed run of the same seeds gives, and
nothing may be left over: temporary files, processes, actors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = {
    "worker": 0.40,
    "driver": 0.22,
    "node": 0.10,
    "head": 0.05,
    "added node": 0.05,
    "full disk": 0.09,
    "slow disk": 0.09,
}
"""Faults, and how often each comes."""

NODES = 2
MOST_NODES = 4
STARTS = 5
TRIAL_SECONDS = 0.25
SLOW_SECONDS = 0.5
"""What each write takes while the disk is slow."""


# What runs in the driver's process


def drive(root: Path, name: str, trials: int, address: str, flags: Path) -> int:
    """Run one study of pretended trials on the cluster; exit code 2 where it cannot go on."""
    import ray

    from search.engine import connection, scheduling
    from search.engine.allotment import Allotment
    from search.ledger.ledger import Ledger
    from search.store import mirror, results
    from trainables.errors import ForgetuneError

    whole = mirror.put

    def put(path: Path, content: bytes) -> None:
        if (flags / "slow").exists():
            time.sleep(SLOW_SECONDS)
        if (flags / "full").exists():
            raise OSError(28, "No space left on device")
        whole(path, content)

    results.put = put  # type: ignore[attr-defined]
    connection.start_ray(address)
    try:
        with Ledger(_spec(name, trials), root, "faults") as ledger:
            allotment = Allotment(cpus=1, gpus=0.0, workers=NODES)
            scheduling.run_trials(ledger, pretend(), allotment, _Nobody())
            ledger.compact()
            return 0 if ledger.finished else 1
    except ForgetuneError as error:
        print(error, flush=True)
        return 2
    finally:
        ray.shutdown()


def _spec(name: str, trials: int) -> Any:
    from search.definition.reading import validate
    from search.definition.resolving import resolve
    from trainables.scenario import Places

    # A worker that is killed is no fault of its trial: it may happen to one again and again.
    given = {"name": name, "trials": trials, "sampler": "random", "retries": 100}
    return resolve(validate(given), Places())


class _Nobody:
    def started(self, ticket: Any) -> None: ...

    def ended(self, ticket: Any) -> None: ...

    def settled(self, row: Any) -> None: ...

    def retried(self, ticket: Any, reason: str) -> None: ...

    def held(self, ticket: Any, reason: str) -> None: ...

    def closing(self, running: int, why: str) -> None: ...

    def tick(self) -> None: ...

    def say(self, text: str) -> None: ...


def pretend() -> Any:
    """A trainable whose metrics follow from its seed and hyperparameters alone."""
    from ray import tune

    class Pretend(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            started = time.time()
            time.sleep(TRIAL_SECONDS)
            values = {k: v for k, v in self.config.items() if not k.startswith("_")}
            return {
                **expected(values.pop("seed"), values),
                **{"state": "complete", "method": "mugan", "hyperparameters": values},
                **{"seed": self.config["seed"], "started": started, "finished": time.time()},
                "done": True,
            }

    return Pretend


def expected(seed: int, values: dict[str, Any]) -> dict[str, float]:
    """What a pretended trial comes to."""
    draw = random.Random(f"{seed}:{json.dumps(values, sort_keys=True)}")
    names = ("forget_accuracy", "retain_accuracy", "mia", "gap")
    return {name: round(draw.uniform(0, 100), 6) for name in names}


# The cluster


@dataclass
class Cluster:
    """Raylets on this machine, each a process group of its own."""

    folder: Path
    groups: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = 0
    started: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, nodes: int = NODES, cpus: int = 1, head_cpus: int = 0) -> None:
        """The head, which runs no trials without CPUs, and so many nodes of so many CPUs."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        temporary = tempfile.mkdtemp(prefix="ray-", dir=self.folder)
        head = ("--head", f"--port={self.port}", f"--num-cpus={head_cpus}")
        self._raylet("head", *head, "--include-dashboard=false", f"--temp-dir={temporary}")
        for _ in range(nodes):
            self.add_node(cpus)

    def add_node(self, cpus: int = 1, *options: str, inside: Sequence[str] = ()) -> str:
        """Another node, with more options of `ray start`, and the name that it has here. `inside`
        is what its command begins with."""
        self.started += 1
        name, joins = f"node {self.started}", (f"--address={self.address}", f"--num-cpus={cpus}")
        self._raylet(name, *joins, *options, inside=inside)
        return name

    @property
    def nodes(self) -> list[str]:
        return [name for name in self.groups if name != "head"]

    def kill(self, name: str) -> None:
        """All processes of a node at once, as when its power fails."""
        group = self.groups.pop(name)
        for pid in _descendants(group.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        group.wait()

    def stop(self) -> None:
        for name in [*self.nodes, *(["head"] if "head" in self.groups else [])]:
            self.kill(name)

    def workers(self) -> list[int]:
        """Processes that run trials."""
        return [
            pid
            for group in self.groups.values()
            for pid in _descendants(group.pid)
            if "ResourceTrainable" in _title(pid) or "Pretend" in _title(pid)
        ]

    def _raylet(self, name: str, *options: str, inside: Sequence[str] = ()) -> None:
        """Start a node and wait for it: of several that start at once on one machine, Ray lets most
        die over the ports that they choose."""
        for attempt in range(STARTS):
            log = self.folder / f"{name}-{attempt}.log"
            group = self._launch(log, *options, inside=inside)
            deadline = time.monotonic() + 120
            while group.poll() is None and time.monotonic() < deadline:
                if b"Ray runtime started" in log.read_bytes():
                    self.groups[name] = group
                    return
                time.sleep(0.05)
        raise RuntimeError(f"{name} did not start: {log.read_text()[-500:]}")

    def _launch(
        self, log: Path, *options: str, inside: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        ray = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block")
        limits = ("--disable-usage-stats", "--object-store-memory=100000000")
        return subprocess.Popen(
            [*inside, *ray, *options, *limits],
            env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": _here()},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _here() -> str:
    return str(Path(__file__).parents[1])


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    """A process and all that it started, the youngest first."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found[::-1]


# The campaign


@dataclass
class Campaign:
    """Disturbs studies: with the faults of `plan`, in order, or else at random; `counts` says with
    which."""

    folder: Path
    rng: random.Random
    trials: int
    plan: list[str] = field(default_factory=list)
    pause: tuple[float, float] = (0.5, 4.0)
    counts: Counter[str] = field(default_factory=Counter)
    drivers: int = 0

    def __post_init__(self) -> None:
        self.flags = self.folder / "flags"
        self.flags.mkdir(parents=True)
        self.root = self.folder / "results"
        self.cluster = Cluster(self.folder)

    def run_study(self, name: str, most_faults: int) -> dict[str, Any]:
        """One study with up to so many faults; what was found in the end."""
        begun, made = time.monotonic(), 0
        driver = self._start_driver(name)
        while True:
            until = time.monotonic() + self.rng.uniform(*self.pause)
            while driver.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            self._mend_disk()
            if driver.poll() is None and made < most_faults:
                made += self._disturb(driver)
            elif driver.poll() is not None:
                if driver.returncode == 0:
                    break
                driver = self._start_driver(name)
            if driver.poll() is not None and driver.returncode != 0:
                driver = self._start_driver(name)
        return {"study": name, "faults": made, "seconds": time.monotonic() - begun} | self.check(
            name
        )

    def _start_driver(self, name: str) -> subprocess.Popen[bytes]:
        self.drivers += 1
        self._mend_disk()
        if "head" not in self.cluster.groups:
            self.cluster.stop()
            self.cluster.start()
        while len(self.cluster.nodes) < NODES:
            self.cluster.add_node()
        command = [sys.executable, __file__, "--drive", name, "--trials", str(self.trials)]
        places = ["--root", self.root, "--flags", self.flags, "--address", self.cluster.address]
        return subprocess.Popen(
            [*command, *map(str, places)],
            env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": _here()},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "drivers.log").open("ab"),
            start_new_session=True,
        )

    def _disturb(self, driver: subprocess.Popen[bytes]) -> int:
        """Make a fault; whether one could be made."""
        done = sum(self.counts.values())
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        if self.plan:
            kind = self.plan[done % len(self.plan)]
        match kind:
            case "worker":
                workers = self.cluster.workers()
                if not workers:
                    return 0
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.rng.choice(workers), signal.SIGKILL)
            case "driver":
                driver.kill()
                driver.wait()
            case "node":
                if not self.cluster.nodes:
                    return 0
                self.cluster.kill(self.rng.choice(self.cluster.nodes))
                self.cluster.add_node()  # as an autoscaler does
            case "head":
                self.cluster.kill("head")
                driver.kill()  # it waits a minute for the head that it lost; nobody would
                driver.wait()
            case "added node":
                if len(self.cluster.nodes) >= MOST_NODES:
                    return 0
                self.cluster.add_node()
            case "full disk" | "slow disk":
                (self.flags / kind.partition(" ")[0]).touch()
        self.counts[kind] += 1
        return 1

    def _mend_disk(self) -> None:
        for name in ("full", "slow"):
            (self.flags / name).unlink(missing_ok=True)

    def check(self, name: str) -> dict[str, Any]:
        """What is wrong with a study that has ended, under keys of its own; all 0 if nothing is."""
        from search.ledger.ledger import Ledger
        from search.store import results

        table, damaged = results.examine(self.root, name)
        rows = table.to_pylist()
        undisturbed = {}
        with (
            tempfile.TemporaryDirectory() as other,
            Ledger(_spec(name, self.trials), Path(other), "faults") as ledger,
        ):
            while (ticket := ledger.ask()) is not None:
                undisturbed[ticket.number] = ticket
        settled = Counter(row["number"] for row in rows)
        wrong = 0
        for row in rows:
            ticket = undisturbed.get(row["number"])
            if ticket is None:
                continue
            wanted = expected(ticket.seed, ticket.hyperparameters)
            wrong += any(row[f"m_{metric}"] != value for metric, value in wanted.items())
        files = [path.name for path in results.study_folder(self.root, name).rglob("*")]
        return {
            "missing": len(set(range(self.trials)) - set(settled)),
            "twice": sum(count > 1 for count in settled.values()),
            "wrong": wrong,
            "not complete": sum(row["state"] != "complete" for row in rows),
            "damaged": len(damaged),
            "temporary files": sum(file.endswith(".tmp") for file in files),
            "workers left": self._left(),
        }

    def _left(self) -> int:
        """Workers of trials that still run though their driver has ended; Ray takes a moment."""
        deadline = time.monotonic() + 60
        while (left := len(self.cluster.workers())) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left


FINDINGS = (
    *("missing", "twice", "wrong", "not complete", "damaged"),
    *("temporary files", "workers left"),
)


@contextlib.contextmanager
def campaign(trials: int, seed: int, **options: Any) -> Iterator[Campaign]:
    """A campaign in a folder of its own, whose cluster is gone in the end."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        run = Campaign(Path(folder), random.Random(seed), trials, **options)
        try:
            yield run
        finally:
            run.cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    for name in ("--root", "--flags", "--address"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        places = (Path(given.root), given.drive, given.trials, given.address, Path(given.flags))
        return drive(*places)
    with campaign(given.trials, given.seed) as run:
        found: list[dict[str, Any]] = []
        while (left := given.faults - sum(run.counts.values())) > 0:
            found.append(run.run_study(f"study-{len(found)}", left))
            print(", ".join(f"{k} {v:.0f}" if k == "seconds" else f"{k} {v}"
                            for k, v in found[-1].items()), flush=True)  # fmt: skip
    print("faults:", ", ".join(f"{count} x {kind}" for kind, count in run.counts.most_common()))
    print(f"{len(found)} studies, {len(found) * given.trials} trials, {run.drivers} drivers")
    totals = {name: sum(item[name] for item in found) for name in FINDINGS}
    print("in all:", ", ".join(f"{name} {count}" for name, count in totals.items()))
    return 1 if any(totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
