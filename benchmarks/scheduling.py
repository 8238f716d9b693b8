"""What scheduling costs: our search beside stock Ray Tune and plain Optuna, in one run.

    python benchmarks/scheduling.py [--trials 100] [--seconds 1.0] [--workers 2]

Every system runs the same number of trials of exactly the same (sleeping) work, each in a fresh
process, one after the other; the trials draw from MuGAN's search space. Measured inside the
trials: from the start of the first to the end of the last. Efficiency is the share of all
workers' time in that span that was trial time; overhead is the rest, per trial.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Span = tuple[float, float]


def work(seconds: float) -> Span:
    """One trial's work: when it started and ended, in seconds since 1970."""
    started = time.time()
    time.sleep(seconds)
    return started, time.time()


def _space(trial: Any) -> None:
    from spaces import mugan

    mugan.suggest(trial)


def ours(trials: int, seconds: float, workers: int) -> list[Span]:
    """Our ledger, searcher and callback in Ray Tune, with the Parquet store and the journal."""
    import ray
    from ray import tune

    from search.definition.resolving import resolve
    from search.definition.spec import StudySpec
    from search.engine import scheduling
    from search.engine.allotment import Allotment
    from search.ledger.ledger import Ledger
    from search.ledger.ticket import Ticket
    from search.store import results
    from trainables.scenario import Places

    class Sleeper(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            started, finished = work(seconds)
            scores = dict.fromkeys(("forget_accuracy", "retain_accuracy", "mia", "gap"), 0.0)
            return {
                **scores,
                "state": "complete",
                "method": "mugan",
                "hyperparameters": {},
                "seed": self.config["seed"],
                "started": started,
                "finished": finished,
                "reason": None,
                "unlearn_seconds": seconds,
                "evaluate_seconds": 0.0,
                "prepare_seconds": 0.0,
                "device": "cpu",
                "peak_memory_mb": None,
                "host": "here",
                "done": True,
            }

    class Nobody:
        def started(self, ticket: Ticket) -> None: ...

        def ended(self, ticket: Ticket) -> None: ...
        def settled(self, row: results.Row) -> None: ...
        def retried(self, ticket: Ticket, reason: str) -> None: ...
        def held(self, ticket: Ticket, reason: str) -> None: ...
        def tick(self) -> None: ...
        def closing(self, running: int, why: str) -> None: ...
        def say(self, text: str) -> None: ...

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=50)
    spec = resolve(StudySpec(name="benchmark", trials=trials), Places())
    with tempfile.TemporaryDirectory() as folder:
        with Ledger(spec, Path(folder), "benchmark") as ledger:
            allotment = Allotment(cpus=1, gpus=0.0, workers=workers)
            scheduling.run_trials(ledger, Sleeper, allotment, Nobody())
        table = results.scan(folder, "benchmark")
    columns = (table["started"].to_pylist(), table["finished"].to_pylist())
    return [(a.timestamp(), b.timestamp()) for a, b in zip(*columns, strict=True)]


def stock(trials: int, seconds: float, workers: int, reuse: bool) -> list[Span]:
    """Ray Tune's own OptunaSearch and a class Trainable, as the documentation has it."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Sleeper(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            started, finished = work(seconds)
            return {"forget": 0.0, "retain": 0.0, "from": started, "to": finished, "done": True}

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=50)
    with tempfile.TemporaryDirectory() as folder:
        found = tune.Tuner(
            Sleeper,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(_space, metric=["forget", "retain"], mode=["min", "max"]),
                num_samples=trials,
                max_concurrent_trials=workers,
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        return [(result.metrics["from"], result.metrics["to"]) for result in found]


def optuna_alone(trials: int, seconds: float, workers: int) -> list[Span]:
    """Optuna in one process, one trial after the other."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spans: list[Span] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        _space(trial)
        spans.append(work(seconds))
        return 0.0, 0.0

    optuna.create_study(directions=["minimize", "maximize"]).optimize(objective, n_trials=trials)
    return spans


SYSTEMS: dict[str, tuple[Callable[[int, float, int], list[Span]], str, bool]] = {
    "ours": (ours, "forgetune", True),
    "stock-reuse": (lambda *a: stock(*a, reuse=True), "OptunaSearch, reuse_actors", True),
    "stock-fresh": (lambda *a: stock(*a, reuse=False), "OptunaSearch, fresh actors", True),
    "optuna": (optuna_alone, "Optuna alone, one process", False),
}


def measure(system: str, trials: int, seconds: float, workers: int) -> dict[str, float]:
    """Run one system in a process of its own; its span, efficiency and overhead per trial."""
    arguments = [system, "--trials", trials, "--seconds", seconds, "--workers", workers]
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, __file__, "--one", *map(str, arguments), "--out", file.name]
        environment = {**os.environ, "RAY_AIR_NEW_OUTPUT": "0"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        spans = json.loads(Path(file.name).read_text())
    span = max(end for _, end in spans) - min(start for start, _ in spans)
    busy = sum(end - start for start, end in spans)
    capacity = span * (workers if SYSTEMS[system][2] else 1)
    return {
        "trials": len(spans),
        "span": span,
        "efficiency": busy / capacity,
        "overhead": (capacity - busy) / len(spans),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        spans = SYSTEMS[given.one][0](given.trials, given.seconds, given.workers)
        Path(given.out).write_text(json.dumps(spans))
        return
    for seconds in (given.seconds, 0.0):
        print(f"{given.trials} trials of {seconds:g} s on {given.workers} workers")
        print(f"{'system':28} {'span s':>8} {'efficiency':>10} {'overhead ms':>12} {'ours is':>9}")
        mine = None
        for system, (_, label, _) in SYSTEMS.items():
            found = measure(system, given.trials, seconds, given.workers)
            mine = mine or found
            ratio = f"{found['span'] / mine['span']:.2f}x"
            print(
                f"{label:28} {found['span']:8.1f} {found['efficiency']:10.1%} "
                f"{found['overhead'] * 1000:12.1f} {ratio:>9}",
                flush=True,
            )
        print()


if __name__ == "__main__":
    main()
