"""What a GPU makes of the parts of a study, in one run, with torch alone (no Ray, no Optuna).

    python benchmarks/gpu.py [--device cuda] [--pixels 32] [--width 1.0] [--samples 2500]

Ten classes of random images, three channels; networks as they are initialised: only speed is
measured. A line for each part as it is done, a table of all last.
"""

from __future__ import annotations

import argparse
import copy
import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.generators import dcgan, kegnet
from trainables.generators.kegnet import Generator
from trainables.methods.impair_repair import impair_repair
from trainables.metrics.anamnesis import relearn
from trainables.models import catalogue
from trainables.models.answers import predict
from trainables.models.classifier import Classifier
from trainables.scenario import Inversion
from trainables.training.fused import Stack, run_together
from trainables.training.passes import Pass, Plan, run
from trainables.training.supervised import adam

CLASSES, BATCH = 10, 64


class Bench:
    """Times parts on one device, and keeps what they took."""

    def __init__(self, device: torch.device, shape: tuple[int, int, int]) -> None:
        self.device, self.shape = device, shape
        self.lines: list[str] = []

    def seconds(self, part: Callable[[], object]) -> float:
        self._wait()
        started = time.perf_counter()
        part()
        self._wait()
        return time.perf_counter() - started

    def say(self, name: str, figure: str) -> None:
        self.lines.append(f"{name:58} {figure}")
        print(self.lines[-1], flush=True)

    def rng(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def samples(self, each: int) -> Samples:
        count = each * CLASSES
        images = torch.rand(count, *self.shape, generator=self.rng(0), device=self.device) * 2 - 1
        return Samples(images, torch.arange(count, device=self.device) % CLASSES)

    def model(self, name: str, width: float, precision: str = "float32") -> nn.Module:
        layout = catalogue.memory_format(name, self.shape)
        built = catalogue.build(name, self.shape, CLASSES, width, seed=0).to(self.device)
        assert isinstance(built, Classifier)
        built.autocast_to = torch.bfloat16 if precision == "bfloat16" else None
        return built.to(memory_format=layout).eval()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def unlearn(bench: Bench, base: nn.Module, samples: Samples, seed: int = 0) -> nn.Module:
    """MuGAN's passes over samples that are there."""
    model, rng = copy.deepcopy(base), bench.rng(seed)
    plan = impair_repair(
        *(model, samples.of((3,)), samples.without((3,))),
        **{"learning_rate": 1e-4, "temperature": 4.0, "direction": "reference", "rng": rng},  # type: ignore[arg-type]
        forget_batch_size=BATCH,
        retain_batch_size=BATCH,
    )
    for _ in run(plan, model, rng):
        pass
    return model


def steps(bench: Bench, model: nn.Module, count: int, captured: bool) -> str:
    """Milliseconds of a step on a batch of fixed shape: kernel by kernel, or `captured` as a CUDA
    graph, which the product does not do."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True, capturable=captured)
    samples = bench.samples(max(2, -(-BATCH // CLASSES)))
    images, labels = samples.images[:BATCH].clone(), samples.labels[:BATCH].clone()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    if not captured:
        step()
        took = bench.seconds(lambda: [step() for _ in range(count)])
        return f"{took / count * 1e3:.2f} ms"
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay() -> None:
        images.copy_(samples.images[:BATCH])
        graph.replay()

    return f"{bench.seconds(lambda: [replay() for _ in range(count)]) / count * 1e3:.2f} ms"


def trials(bench: Bench, width: float, most: int, count: int) -> float:
    """Seconds of `count` MuGAN trials, one after the other, with 10 to `most` samples of a class,
    each followed by a look at as many images as CIFAR-10 holds out."""
    base, pool = bench.model("allcnn", width), bench.samples(most)
    held_out, draw = bench.samples(1_500).images, random.Random(0)

    def study() -> None:
        for seed in range(count):
            taken = draw.randint(10, most)
            samples = pool.where(slice(taken * CLASSES))
            predict(unlearn(bench, base, samples, seed), held_out)

    return bench.seconds(study)


def fused(bench: Bench, width: float, together: int, turns: int) -> str:
    """How many times as fast trials are together as one after the other."""
    base, samples = bench.model("allcnn", width), bench.samples(max(2, BATCH))

    def plan(model: nn.Module) -> Plan:
        optimizer, loss = adam(model.parameters(), 1e-4), functional.cross_entropy
        yield Pass(samples.images, (samples.labels,), BATCH, loss, optimizer)

    def separate() -> None:
        for seed in range(together):
            model = copy.deepcopy(base)
            for _ in run(plan(model), model, bench.rng(seed)):
                pass

    def shared() -> None:
        stack = Stack(base, together)
        rngs = [bench.rng(seed) for seed in range(together)]
        run_together(stack, [plan(model) for model in stack.models], rngs)

    separate(), shared()
    ratios = sorted(bench.seconds(separate) / bench.seconds(shared) for _ in range(turns))
    return f"{median(ratios):.2f}x ({ratios[0]:.2f}..{ratios[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pixels", type=int, default=32)
    parser.add_argument("--width", type=float, default=1.0, help="of AllCNN")
    parser.add_argument("--samples", type=int, default=2_500, help="of each class")
    parser.add_argument("--steps", type=int, default=2_000, help="of each generator's training")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--together", type=int, nargs="*", default=[2, 4, 8, 16, 32])
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    bench = Bench(torch.device(given.device), (3, given.pixels, given.pixels))
    samples = bench.samples(given.samples)

    for name, width in (("vgg16", 1.0), ("allcnn", given.width)):
        for precision in ("float32", "bfloat16"):
            base = bench.model(name, width, precision)
            unlearn(bench, base, bench.samples(BATCH))
            once = partial(unlearn, bench, base, samples)
            took = [bench.seconds(once) for _ in range(given.turns)]
            title = f"{name} in {precision}"
            bench.say(f"MuGAN, {title}, {given.samples} samples a class", f"{median(took):.2f} s")
            bench.say(f"a step, {title}", steps(bench, base, 50, captured=False))
            if bench.device.type == "cuda":
                bench.say("the same as a CUDA graph", steps(bench, base, 50, captured=True))

    base = bench.model("allcnn", given.width)
    for width in sorted({0.25, given.width}):
        for count in given.together:
            line = f"{count} trials of AllCNN x {width:g} together"
            bench.say(line, fused(bench, width, count, given.turns))

    recipe = Inversion(steps=given.steps)

    def invert(seeds: list[int]) -> list[Generator]:
        return kegnet.invert_together(base, bench.shape, CLASSES, recipe, seeds)

    alone = bench.seconds(lambda: [invert([seed]) for seed in range(5)])
    bench.say(f"five KegNet generators, {given.steps} steps, one by one", f"{alone:.1f} s")
    bench.say("the same together", f"{bench.seconds(lambda: invert(list(range(5)))):.1f} s")

    own = [samples.of((label,)) for label in range(CLASSES)]

    def train(labels: list[int]) -> list[dcgan.Generator]:
        return dcgan.train_together([own[label] for label in labels], given.steps, labels)

    alone = bench.seconds(lambda: [train([label]) for label in range(CLASSES)])
    bench.say(f"ten DCGANs, {given.steps} steps, one by one", f"{alone:.1f} s")
    bench.say("the same together", f"{bench.seconds(lambda: train(list(range(CLASSES)))):.1f} s")

    for every in (1, 16):

        def relearned(every: int = every) -> None:
            what = (base, samples, bench.samples(20), 101.0, 0)
            relearn(*what, most_epochs=1, look_every=every)

        bench.say(f"relearning, looked at every {every} steps", f"{bench.seconds(relearned):.2f} s")

    took_all = trials(bench, given.width, given.samples, given.trials)
    bench.say(f"{given.trials} trials of MuGAN, AllCNN, one by one", f"{took_all:.1f} s")

    kind = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "cpu"
    print(f"\n{kind}, {given.pixels} pixels, AllCNN x {given.width:g}, torch {torch.__version__}")
    print("\n".join(bench.lines))


if __name__ == "__main__":
    main()
