"""What it does to each method whether batch norms follow the unlearning data, and how many layers
learn: a table in Markdown, mean and standard deviation of test forget / retain accuracy over trial
seeds.

    python benchmarks/learning.py [--dataset digits] [--forget 3] [--width 0.25] [--seeds 5] ...

Hyperparameters are the methods' defaults, rates below 1e-3 ten times as large, as these models are
narrow, and fewer epochs and samples where that is all that takes long; the same in every column.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import torch

from trainables import Places, Scenario, methods, run_trial
from trainables.scenario import Inversion
from trainables.workbench import Workbench

SHORTENED: dict[str, dict[str, Any]] = {
    "finetune": {"epochs": 1},
    "negative_gradient": {},
    "random_labels": {},
    "scrub": {"epochs": 3, "max_steps": 2},
    "scrub_r": {"epochs": 3, "max_steps": 2},
    "bad_teacher": {},
    "unsir": {"samples_per_class": 300},
    "jit": {"perturbations": 25},
    "mugan": {"samples_per_class": 500},
    "zmugan": {"generators": 3},
    "emmn": {},
    "zdelete": {},
}
"""Every method that trains in passes, and what is not its default."""

COLUMNS: list[tuple[str, dict[str, Any]]] = [
    ("batch norms follow", {"batch_norm": "train", "layers": "all"}),
    ("frozen", {"batch_norm": "frozen", "layers": "all"}),
    ("frozen, last 3 layers", {"batch_norm": "frozen", "layers": 3}),
]


def raised(method: str) -> dict[str, Any]:
    """A method's rates, ten times as large where they are below 1e-3."""
    defaults = methods.hyperparameters(method)
    rates = {name: value for name, value in defaults.items() if name.endswith("learning_rate")}
    return {name: value * 10 for name, value in rates.items() if value < 1e-3}


def cell(outcomes: Sequence[dict[str, float]]) -> str:
    """Forget / retain accuracy on test images, percent."""
    told = []
    for name in ("test_forget_accuracy", "test_retain_accuracy"):
        values = [metrics[name] for metrics in outcomes]
        told.append(f"{mean(values):.1f} ± {stdev(values) if len(values) > 1 else 0.0:.1f}")
    return " / ".join(told)


def prepare(bench: Workbench, method: str, values: dict[str, Any]) -> None:
    for stage in bench.prerequisites(methods.load(method)(**values).needs, (), 5):
        for name in stage:
            bench.prepare(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--forget", type=int, default=3)
    parser.add_argument("--model", default="allcnn")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--gan-width", type=float, default=1.0)
    parser.add_argument("--validation-fraction", type=float, default=0.2)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=list(SHORTENED))
    given = parser.parse_args()
    torch.set_num_threads(1)
    scenario = Scenario(
        dataset=given.dataset,
        forget=(given.forget,),
        model=given.model,
        width=given.width,
        gan_width=given.gan_width,
        validation_fraction=given.validation_fraction,
        precision=given.precision,
        inversion=replace(Inversion(), steps=500, batch_size=64),
    )
    bench = Workbench(scenario, Places(), torch.device("cpu"))
    prepare(bench, "original", {})
    print(f"| method | {' | '.join(name for name, _ in COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name in ("base", "retrained"):
        shown = cell([bench.references[name]])
        print(f"| {name} | {' | '.join([shown] * len(COLUMNS))} |", flush=True)
    for method in given.methods:
        values = {**raised(method), **SHORTENED[method]}
        prepare(bench, method, values)
        cells = []
        for _, learning in COLUMNS:
            outcomes = [
                run_trial(bench, method, {**values, **learning}, seed)[0]
                for seed in range(given.seeds)
            ]
            complete = [outcome.metrics for outcome in outcomes if outcome.metrics]
            failed = len(outcomes) - len(complete)
            cells.append(cell(complete) if complete else "-")
            if failed:
                cells[-1] += f" ({failed} {outcomes[0].state} ...)"
        print(f"| {method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
