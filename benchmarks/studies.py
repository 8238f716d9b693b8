"""A real study with us, with stock Ray Tune and with plain Optuna: MuGAN on digits, in one run.

    python benchmarks/studies.py [--trials 40] [--turns 3] [--gpus 0]

Every system searches MuGAN's own space with Optuna's TPE for forget and retain accuracy, calls the
same method and the same evaluation (`run_trial`) and finds the same artifacts built. Each runs in a
fresh process on two CPUs, turn by turn, each turn with another seed: ours and Ray Tune as two
workers of one thread, Optuna alone with two threads. Seconds are those of the whole process, its
start included. A trial's cost depends on what was suggested, so seconds for a thousand samples (per
class) stand beside it, and the gap to the retrained model (points) of the best trial by validation
images, on test images: no system should do less well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

Found = list[tuple[float, float, int]]
"""Gap (points), the same on test images, and samples per class of each complete trial."""

CPUS = 2


def _spec(trials: int, gpus: float, **values: Any) -> Any:
    from search.definition.reading import validate

    resources = {"gpus_per_trial": gpus}
    return validate({"name": "studies", "trials": trials, "resources": resources, **values})


def ours(artifacts: Path, trials: int, gpus: float, seed: int, pool: bool) -> Found:
    """The study as `forgetune run` runs it; without `pool`, each trial draws its samples anew."""
    import ray

    from search.study import Study
    from trainables.scenario import Places

    ray.init(num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level=50)
    with tempfile.TemporaryDirectory() as folder:
        spec = _spec(trials, gpus, seed=seed, pool_samples=pool)
        study = Study(spec, root=folder, places=Places(artifacts=artifacts))
        study.run()
        rows = study.results().to_pylist()
    complete = [row for row in rows if row["state"] == "complete"]
    return [(row["m_gap"], row["m_test_gap"], row["p_samples_per_class"]) for row in complete]


def stock(artifacts: Path, trials: int, gpus: float, seed: int, reuse: bool) -> Found:
    """Our trainable in anyone's Tuner, with Ray's own OptunaSearch."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from search.definition.resolved import scenario_of
    from search.definition.resolving import resolve
    from trainables.scenario import Places
    from trainables.trainable import trainable

    ray.init(num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level=50)
    places = Places(artifacts=artifacts)
    scenario = scenario_of(resolve(_spec(trials, gpus), places))
    kind = trainable("mugan", scenario, places=places, settle_failures=True)
    metrics = ["forget_accuracy", "retain_accuracy"]
    with tempfile.TemporaryDirectory() as folder:
        grid = tune.Tuner(
            tune.with_resources(kind, {"cpu": 1, "gpu": gpus}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(_suggest, metric=metrics, mode=["min", "max"], seed=seed),
                num_samples=trials,
                max_concurrent_trials=CPUS,
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        found = [result.metrics for result in grid if result.metrics.get("state") == "complete"]
    return [
        (one["gap"], one["test_gap"], one["hyperparameters"]["samples_per_class"]) for one in found
    ]


def optuna_alone(artifacts: Path, trials: int, gpus: float, seed: int) -> Found:
    """Optuna's own loop in one process that keeps everything loaded."""
    import optuna

    from search.definition.resolved import scenario_of
    from search.definition.resolving import resolve
    from trainables.scenario import Places
    from trainables.trial import run_trial
    from trainables.workbench import shared_workbench, use_threads

    use_threads(CPUS)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    places = Places(artifacts=artifacts)
    bench = shared_workbench(scenario_of(resolve(_spec(trials, gpus), places)), places)
    found: Found = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        values = _suggested(trial)
        outcome, _ = run_trial(bench, "mugan", values, trial.number)
        if not outcome.metrics:
            return 100.0, 0.0
        metrics = outcome.metrics
        found.append((metrics["gap"], metrics["test_gap"], values["samples_per_class"]))
        return metrics["forget_accuracy"], metrics["retain_accuracy"]

    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return found


def _suggested(trial: Any) -> dict[str, Any]:
    """MuGAN's space as the study has it on digits."""
    from search.definition.resolving import resolve
    from search.definition.space import SearchSpace
    from trainables.scenario import Places

    space = resolve(_spec(1, 0), Places()).space
    return SearchSpace("mugan", space).suggest(trial)


def _suggest(trial: Any) -> None:
    _suggested(trial)


SYSTEMS: dict[str, tuple[Callable[[Path, int, float, int], Found], str]] = {
    "ours": (lambda *a: ours(*a, pool=True), "forgetune"),
    "anew": (lambda *a: ours(*a, pool=False), "forgetune, samples drawn anew"),
    "reuse": (lambda *a: stock(*a, reuse=True), "Ray Tune, OptunaSearch, reuse_actors"),
    "stock": (lambda *a: stock(*a, reuse=False), "Ray Tune, OptunaSearch"),
    "optuna": (optuna_alone, "Optuna, one process"),
}


def measure(
    system: str, artifacts: Path, trials: int, gpus: float, seed: int
) -> tuple[float, Found]:
    """Seconds of a process that runs one system's study, and what it found."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        told = [system, "--trials", str(trials), "--gpus", str(gpus)]
        told += ["--artifacts", str(artifacts), "--out", file.name, "--seed", str(seed)]
        started = time.perf_counter()
        with Path(f"{file.name}.log").open("w") as log:
            ended = subprocess.run(
                [sys.executable, __file__, "--one", *told], stdout=log, stderr=log, check=False
            )
        if ended.returncode:
            sys.exit(f"{system}: {Path(f'{file.name}.log').read_text()[-2000:]}")
        Path(f"{file.name}.log").unlink()
        return time.perf_counter() - started, json.loads(Path(file.name).read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--gpus", type=float, default=0.0, help="of a GPU, for each trial")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--artifacts", type=Path, help="where they lie [default: built first]")
    parser.add_argument("--one", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        found = SYSTEMS[given.one][0](given.artifacts, given.trials, given.gpus, given.seed)
        Path(given.out).write_text(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        artifacts = given.artifacts or Path(folder)
        measure("ours", artifacts, 1, given.gpus, 0)  # builds what is missing
        seconds: dict[str, list[float]] = {system: [] for system in given.systems}
        each: dict[str, list[float]] = {system: [] for system in given.systems}
        gaps: dict[str, list[float]] = {system: [] for system in given.systems}
        for turn in range(given.turns):
            for system in given.systems:
                took, found = measure(system, artifacts, given.trials, given.gpus, turn)
                seconds[system].append(took)
                each[system].append(took / sum(samples for *_, samples in found) * 1e3)
                gaps[system].append(min(found)[1])
                print(
                    f"turn {turn + 1}: {SYSTEMS[system][1]}: {took:.1f} s, {len(found)} complete",
                    flush=True,
                )
    print(f"\n{given.trials} trials, {given.turns} turns: median (lowest..highest)")
    print(f"{'':38}{'seconds':>22}{'s / 1,000 samples':>24}{'test gap of best':>20}{'to ours':>10}")
    first = median(each[given.systems[0]])
    for system in given.systems:
        print(
            f"{SYSTEMS[system][1]:38}{_spread(seconds[system], 1):>22}"
            f"{_spread(each[system], 2):>24}"
            f"{_spread(gaps[system], 2):>20}{median(each[system]) / first:>9.2f}x"
        )


def _spread(values: list[float], digits: int) -> str:
    low, mid, high = (f"{f(values):.{digits}f}" for f in (min, median, max))
    return f"{mid} ({low}..{high})"


if __name__ == "__main__":
    main()
