"""How far each part of a study is from what the machine can do.

    python benchmarks/floors.py [--device cpu] [--dataset digits] [--width 0.25]

Operations are counted (`torch.utils.flop_counter`), the rates of multiplying and of copying
measured on this machine, in this run, on one thread. Bytes are those of all weights and of every
layer's outputs, once written and once read in each direction: what no way of computing it avoids,
short of joining layers. The floor is the greater of both times; gap is measured over floor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainables import Places, Scenario
from trainables.access import Access
from trainables.generators import dcgan, kegnet
from trainables.methods.mugan import MuGAN
from trainables.models.copies import clone
from trainables.training.supervised import fit
from trainables.workbench import Workbench

SIZE = 1_024
TURNS = 3


class Machine:
    """The rates of one device: operations and bytes a second."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        matrix = torch.rand(SIZE, SIZE, device=device)
        many = torch.rand(16 * SIZE * SIZE, device=device)
        place = torch.empty_like(many)
        times = 10 if device.type == "cpu" else 200
        self.operations = 2 * SIZE**3 * times / self.best(lambda: repeat(matrix, times))
        self.bytes = 2 * many.numel() * 4 / self.best(lambda: place.copy_(many))

    def best(self, work: Callable[[], Any]) -> float:
        """Seconds of the fastest of a few turns."""
        return min(self.seconds(work) for _ in range(TURNS))

    def seconds(self, work: Callable[[], Any]) -> float:
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def repeat(matrix: torch.Tensor, times: int) -> None:
    for _ in range(times):
        matrix @ matrix


class Moved:
    """Counts the bytes of layers' outputs and weights while it is open."""

    def __enter__(self) -> Moved:
        self.total = 0

        def count(module: nn.Module, _: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and not list(module.children()):
                tensors = [output, *module.parameters(recurse=False)]
                passes = 2 if torch.is_grad_enabled() else 1
                self.total += 2 * passes * sum(t.numel() * t.element_size() for t in tensors)

        self._hook = nn.modules.module.register_module_forward_hook(count)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--samples", type=int, default=300, help="of MuGAN, for each class")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    machine = Machine(device)
    scenario = Scenario(dataset=given.dataset, width=given.width)
    bench = Workbench(scenario, Places(), device)
    seeds = iter(range(10_000))

    def rng() -> torch.Generator:
        return torch.Generator(device).manual_seed(next(seeds))

    def base() -> None:
        model = clone(bench.base)
        train, size = bench.dataset.train, scenario.batch_size
        list(fit(model, train, epochs=1, learning_rate=1e-3, batch_size=size, rng=rng()))

    def gan() -> None:
        train = bench.dataset.train.of((0,))
        dcgan.train(train, 20, next(seeds), scenario.gan_width)

    def inversion() -> None:
        recipe = replace(scenario.inversion, steps=10)
        kegnet.invert(bench.base, bench.image_shape, bench.num_classes, recipe, next(seeds))

    def unlearning() -> None:
        model, access = clone(bench.base), bench.grant(frozenset({Access.GANS}))
        list(MuGAN(samples_per_class=given.samples).unlearn(model, access, rng()))

    parts: dict[str, Callable[[], Any]] = {
        "base training, one epoch": base,
        "DCGAN of one class, 20 steps": gan,
        "KegNet inversion, 10 steps": inversion,
        f"MuGAN, {given.samples} samples a class": unlearning,
        "evaluation": lambda: bench.evaluator(bench.base),
        "relearning (anamnesis index)": lambda: bench.relearn(bench.retrained),
    }
    told = f"{machine.operations / 1e9:.0f} GFLOP/s, {machine.bytes / 1e9:.1f} GB/s"
    table = Table(title=f"{given.dataset}, AllCNN {given.width:g}, {given.device}: {told}")
    for heading in ("part", "GFLOP", "GB", "floor ms", "measured ms", "gap"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for name, part in parts.items():
        part()
        with FlopCounterMode(display=False) as counter, Moved() as moved:
            part()
        floor = max(counter.get_total_flops() / machine.operations, moved.total / machine.bytes)
        measured = machine.best(part)
        figures = (counter.get_total_flops() / 1e9, moved.total / 1e9, floor * 1e3, measured * 1e3)
        table.add_row(name, *(f"{figure:.2f}" for figure in figures), f"{measured / floor:.1f}x")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
