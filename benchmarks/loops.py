"""MuGAN's unlearning beside a plain PyTorch loop with a DataLoader, in one process, turn by turn.

    python benchmarks/loops.py [--turns 7] [--device cpu]

The plain loop is what one writes from the thesis' Alg. 8: a DataLoader over the images, the
reference asked for its answer on noise in each step, Adam as it comes, the model as it is built.
Both start from one network and see as many samples; neither draws from a GAN here. Printed are
the median and the range of the turns' seconds, and the median of their ratios.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from trainables import models
from trainables.data import Samples
from trainables.methods.impair_repair import impair_repair
from trainables.passes import run

CASES = (
    ("allcnn, width 0.25, 1x8x8", "allcnn", (1, 8, 8), 0.25, 300),
    ("allcnn, width 0.1, 3x32x32", "allcnn", (3, 32, 32), 0.1, 60),
    ("vgg16, 3x32x32", "vgg16", (3, 32, 32), 1.0, 8),
)
"""Name, model, images, width, samples of each of ten classes."""

LEARNING_RATE, TEMPERATURE, FORGET_BATCH, RETAIN_BATCH = 1e-4, 4.0, 32, 64


def plain(model: nn.Module, forget: Samples, retain: Samples) -> None:
    """The loop with a DataLoader."""
    model.to(memory_format=torch.contiguous_format)
    reference = copy.deepcopy(model).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    device = next(model.parameters()).device
    model.train()
    for batch, _ in DataLoader(
        TensorDataset(forget.images, forget.labels), FORGET_BATCH, shuffle=True
    ):
        images = batch.to(device)
        with torch.no_grad():
            target = functional.softmax(reference(torch.rand_like(images)) / TEMPERATURE, dim=1)
        answered = functional.log_softmax(model(images) / TEMPERATURE, dim=1)
        loss = functional.kl_div(answered, target, reduction="batchmean") * TEMPERATURE**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for batch, labels in DataLoader(
        TensorDataset(retain.images, retain.labels), RETAIN_BATCH, shuffle=True
    ):
        loss = functional.cross_entropy(model(batch.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def ours(model: nn.Module, forget: Samples, retain: Samples) -> None:
    """The product's passes."""
    rng = torch.Generator(forget.images.device).manual_seed(0)
    plan = impair_repair(
        model,
        forget,
        retain,
        learning_rate=LEARNING_RATE,
        temperature=TEMPERATURE,
        forget_batch_size=FORGET_BATCH,
        retain_batch_size=RETAIN_BATCH,
        direction="reference",
        rng=rng,
    )
    for _ in run(plan, model, rng):
        pass


def seconds(work: Callable[[nn.Module, Samples, Samples], None], *what: object) -> float:
    """What one run on a fresh copy of the model takes."""
    model, forget, retain = what
    fresh = copy.deepcopy(model)
    assert isinstance(fresh, nn.Module)
    assert isinstance(forget, Samples)
    assert isinstance(retain, Samples)
    if forget.images.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    work(fresh, forget, retain)
    if forget.images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def drawn(shape: tuple[int, int, int], labels: Tensor) -> Samples:
    return Samples(torch.rand(len(labels), *shape) * 2 - 1, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    for title, name, shape, width, per_class in CASES:
        model = models.build(name, shape, 10, width, seed=0).to(device)
        forget = drawn(shape, torch.zeros(per_class, dtype=torch.int64))
        retain = drawn(shape, torch.arange(1, 10).repeat(per_class))
        # The loader has its images where a script has them; ours are on the device.
        for work, where in ((plain, "cpu"), (ours, device)):
            seconds(work, model, forget.to(torch.device(where)), retain.to(torch.device(where)))
        turns = [
            (
                seconds(plain, model, forget, retain),
                seconds(ours, model, forget.to(device), retain.to(device)),
            )
            for _ in range(given.turns)
        ]
        columns = [sorted(column) for column in zip(*turns, strict=True)]
        told = [f"{median(c):.2f} s ({c[0]:.2f}..{c[-1]:.2f})" for c in columns]
        ratios = sorted(one / other for one, other in turns)
        print(
            f"{title}, {per_class} samples a class: DataLoader {told[0]}, ours {told[1]}, "
            f"ratio {median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
