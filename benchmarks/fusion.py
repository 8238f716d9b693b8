"""Trials that share their steps beside the same trials one after the other, turn by turn.

    python benchmarks/fusion.py [--together 2 4 8] [--device cpu] [--width 0.25] [--pixels 8]
    python benchmarks/fusion.py --width 0.02 --pixels 4 --batch 2 --together 8 16 32 --trials-only

Training alone, on random images: AllCNN as `trainables.training.fused` runs it; ten DCGANs, and
five generators inverted from one classifier, as a study prepares them. Printed is how many times as
fast they are together as one after the other, median and range of the turns. The second command is
about a network so small that a step is nothing but starting its kernels, as a step of a small
network is on a large GPU.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.generators import dcgan, kegnet
from trainables.models import catalogue
from trainables.scenario import Inversion
from trainables.training.fused import Stack, run_together
from trainables.training.passes import Pass, Plan, run
from trainables.training.supervised import adam

SAMPLES, BATCH = 640, 64
DCGAN_SAMPLES, STEPS = 128, 20


def plan(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch: int) -> Plan:
    optimizer = adam(model.parameters(), 1e-4)
    yield Pass(images, (labels,), batch, functional.cross_entropy, optimizer)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--together", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--pixels", type=int, default=8)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--trials-only", action="store_true", help="no generators")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    shape = (given.channels, given.pixels, given.pixels)
    images = torch.rand(SAMPLES, *shape, device=device) * 2 - 1
    labels = torch.randint(10, (SAMPLES,), device=device)
    base = catalogue.build("allcnn", shape, 10, given.width, seed=0).to(device)
    base.to(memory_format=catalogue.memory_format("allcnn", shape))  # as a study has it

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def rng(seed: int) -> torch.Generator:
        return torch.Generator(device).manual_seed(seed)

    def separate(count: int) -> float:
        copies = [copy.deepcopy(base) for _ in range(count)]
        started = now()
        for seed, model in enumerate(copies):
            for _ in run(plan(model, images, labels, given.batch), model, rng(seed)):
                pass
        return now() - started

    def shared(count: int) -> float:
        stack = Stack(base, count)
        started = now()
        plans = [plan(model, images, labels, given.batch) for model in stack.models]
        failures = run_together(stack, plans, [rng(seed) for seed in range(count)])
        assert failures == [None] * count
        return now() - started

    def timed(train: Callable[[list[int]], object], groups: list[list[int]]) -> float:
        started = now()
        for seeds in groups:
            train(seeds)
        return now() - started

    def dcgans(seeds: list[int]) -> object:
        own = [Samples(images[:DCGAN_SAMPLES], labels[:DCGAN_SAMPLES]) for _ in seeds]
        return dcgan.train_together(own, STEPS, seeds)

    def inversions(seeds: list[int]) -> object:
        recipe = Inversion(steps=STEPS, batch_size=BATCH)
        return kegnet.invert_together(base.eval(), shape, 10, recipe, seeds)

    for count in given.together:
        separate(1), shared(count)
        turns = [(separate(count), shared(count)) for _ in range(given.turns)]
        rate = count * SAMPLES / median(other for _, other in turns)
        print(f"{count} trials together: {_ratio(turns)}, {rate:,.0f} samples/s", flush=True)
    if given.trials_only:
        return
    for name, train, count in (("DCGANs", dcgans, 10), ("inversions", inversions, 5)):
        seeds = list(range(count))
        one_by_one = [[seed] for seed in seeds]
        timed(train, [[0], seeds])
        turns = [(timed(train, one_by_one), timed(train, [seeds])) for _ in range(given.turns)]
        print(f"{count} {name} together: {_ratio(turns)}", flush=True)


def _ratio(turns: list[tuple[float, float]]) -> str:
    ratios = sorted(one / other for one, other in turns)
    return f"{median(ratios):.2f}x ({ratios[0]:.2f}..{ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
