"""MuGAN's three kinds of GANs side by side on digits: what they cost, how good and how diverse
their samples are, and what unlearning with them comes to.

    python benchmarks/gans.py [--steps 1000] [--seeds 3]

Pass rate: share of samples that the base model classifies as their class, over that of training
images, worst and mean over classes. Diversity: mean standard deviation of pixels within a class,
over that of real images. Unlearning: MuGAN with its learning rate at 1e-3 and 500 samples a class,
mean and standard deviation over seeds, on validation images.
"""

from __future__ import annotations

import argparse
from statistics import mean, stdev

import torch
from rich.console import Console
from rich.table import Table

from trainables import Places, Scenario, run_trial
from trainables.access import Access
from trainables.artifacts.gans import pass_rate
from trainables.data.dataset import Samples
from trainables.workbench import Workbench

VALUES = {"learning_rate": 1e-3, "samples_per_class": 500}
SAMPLES = 500


def spread(samples: Samples) -> float:
    """Mean over classes of the mean standard deviation of a pixel."""
    parts = [samples.of((label,)).images for label in samples.labels.unique().tolist()]
    return mean(float(part.std(dim=0).mean()) for part in parts)


def measured(kind: str, steps: int, seeds: int) -> list[str]:
    bench = Workbench(Scenario(gan=kind, gan_steps=steps), Places(), torch.device("cpu"))
    for stage in bench.prerequisites(frozenset({Access.GANS})):
        for name in stage:
            bench.prepare(name)
    labels = tuple(range(bench.num_classes))
    rng = torch.Generator().manual_seed(0)
    rates = [pass_rate(bench.shelf, bench.gans.generators[label], label, rng) for label in labels]
    drawn = bench.gans.draw_each(labels, SAMPLES, rng)
    outcomes = [run_trial(bench, "mugan", VALUES, seed)[0] for seed in range(seeds)]
    unlearned = [
        f"{mean(values):.1f} ± {stdev(values):.1f}"
        for name in ("forget_accuracy", "retain_accuracy", "gap")
        for values in [[outcome.metrics[name] for outcome in outcomes]]
    ]
    return [
        kind,
        f"{bench.prepare_seconds(frozenset({Access.GANS})):.0f}",
        f"{min(rates):.2f}",
        f"{mean(rates):.2f}",
        f"{spread(drawn) / spread(bench.dataset.train):.2f}",
        *unlearned,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title=f"{given.steps} generator steps, one CPU thread", title_justify="left")
    for heading in ("GAN", "train s", "pass worst", "pass mean", "diversity", "forget", "retain",
                    "gap"):  # fmt: skip
        table.add_column(heading, justify="right")
    for kind in ("dcgan", "cgan", "wgan-gp"):
        table.add_row(*measured(kind, given.steps, given.seeds))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
