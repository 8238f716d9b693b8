"""MuGAN's unlearning beside a plain PyTorch loop with a DataLoader, in one process, turn by turn.

    python benchmarks/loops.py [--turns 7] [--device cpu] [--precision bfloat16]
                               [--artifacts ~/.cache/forgetune]

The plain loop is what one writes from the thesis' Alg. 8: a DataLoader over the images, the
reference asked for its answer on noise in each step, Adam as it comes, the model as it is built.
Both start from one network and see as many samples; neither draws from a GAN here. Last comes a
whole trial's unlearning on digits: the script draws each class' samples from its GAN, keeps those
that the classifier knows, and goes through the plain loop; ours is a trial of a study whose pools
are drawn. With `--precision bfloat16` ours computes convolutions in that, the script does not.
Printed are the median and the range of the turns' seconds and of their ratios.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from trainables import Places, Scenario
from trainables.data.dataset import Samples
from trainables.generators import dcgan
from trainables.generators.sampling import ClassGenerators
from trainables.methods.impair_repair import impair_repair
from trainables.methods.mugan import MuGAN
from trainables.models import catalogue
from trainables.models.classifier import Classifier
from trainables.training.passes import run
from trainables.workbench import Workbench

CASES = (
    ("allcnn, width 0.25, 1x8x8", "allcnn", (1, 8, 8), 0.25, 300),
    ("allcnn, width 0.1, 3x32x32", "allcnn", (3, 32, 32), 0.1, 60),
    ("vgg16, 3x32x32", "vgg16", (3, 32, 32), 1.0, 8),
)
"""Name, model, images, width, samples of each of ten classes."""

TRIAL_SAMPLES, BATCH = 400, 128

LEARNING_RATE, TEMPERATURE, FORGET_BATCH, RETAIN_BATCH = 1e-4, 4.0, 32, 64


def plain(model: nn.Module, forget: Samples, retain: Samples) -> None:
    """The loop with a DataLoader, in full precision."""
    model.to(memory_format=torch.contiguous_format)
    if isinstance(model, Classifier):
        model.autocast_to = None
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


def scripted_trial(bench: Workbench, model: nn.Module) -> None:
    """A trial's unlearning as a script has it."""
    gans = bench.gans
    assert isinstance(gans, ClassGenerators)
    drawn = {}
    for label, generator in gans.generators.items():
        kept: list[Tensor] = []
        while sum(map(len, kept)) < TRIAL_SAMPLES:
            with torch.no_grad():
                images = generator(torch.randn(BATCH, dcgan.LATENT, device=bench.device))
                kept.append(images[gans.classifier(images).argmax(1) == label])
        drawn[label] = torch.cat(kept)[:TRIAL_SAMPLES]
    wanted = bench.scenario.forget
    forget = torch.cat([drawn[label] for label in wanted])
    retained = [label for label in drawn if label not in wanted]
    labels = torch.tensor(retained).repeat_interleave(TRIAL_SAMPLES)
    retain = Samples(torch.cat([drawn[label] for label in retained]).cpu(), labels)
    plain(model, Samples(forget.cpu(), torch.full((len(forget),), wanted[0])), retain)


def trial_of_a_study(bench: Workbench, model: nn.Module) -> None:
    """The same on a worker that has drawn its pools."""
    method = MuGAN(
        learning_rate=LEARNING_RATE,
        samples_per_class=TRIAL_SAMPLES,
        temperature=TEMPERATURE,
        forget_batch_size=FORGET_BATCH,
        retain_batch_size=RETAIN_BATCH,
    )
    rng = torch.Generator(bench.device).manual_seed(0)
    for _ in method.unlearn(model, bench.grant(method.needs, pool=0), rng):
        pass


def seconds(work: Callable[[nn.Module], None], model: nn.Module) -> float:
    """What one run on a fresh copy of the model takes."""
    fresh = copy.deepcopy(model)
    on_gpu = next(model.parameters()).is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    started = time.perf_counter()
    work(fresh)
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(
    title: str,
    model: nn.Module,
    script: Callable[[nn.Module], None],
    product: Callable[[nn.Module], None],
    count: int,
) -> None:
    """Print what `count` turns of both take; one before them warms both up."""
    turns = [(seconds(script, model), seconds(product, model)) for _ in range(count + 1)][1:]
    columns = [sorted(column) for column in zip(*turns, strict=True)]
    told = [f"{median(c):.2f} s ({c[0]:.2f}..{c[-1]:.2f})" for c in columns]
    ratios = sorted(one / other for one, other in turns)
    print(
        f"{title}: script {told[0]}, ours {told[1]}, "
        f"ratio {median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})",
        flush=True,
    )


def drawn(shape: tuple[int, int, int], labels: Tensor) -> Samples:
    return Samples(torch.rand(len(labels), *shape) * 2 - 1, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--artifacts", type=Path, help="where they lie [default: built first]")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    for title, name, shape, width, per_class in CASES:
        model = catalogue.build(name, shape, 10, width, seed=0).to(device)
        model.to(memory_format=catalogue.memory_format(name, shape))
        if given.precision == "bfloat16":
            assert isinstance(model, Classifier)
            model.autocast_to = torch.bfloat16
        forget = drawn(shape, torch.zeros(per_class, dtype=torch.int64))
        retain = drawn(shape, torch.arange(1, 10).repeat(per_class))
        # The loader has its images where a script has them; ours are on the device.
        there = forget.to(device), retain.to(device)
        compare(
            f"{title}, {per_class} samples a class",
            model,
            partial(plain, forget=forget, retain=retain),
            partial(ours, forget=there[0], retain=there[1]),
            given.turns,
        )
    with tempfile.TemporaryDirectory() as folder:
        places = Places(artifacts=given.artifacts or Path(folder))
        scenario = Scenario(dataset="digits", forget=(3,), precision=given.precision)
        bench = Workbench(scenario, places, device)
        trials = partial(scripted_trial, bench), partial(trial_of_a_study, bench)
        title = f"a trial on digits, {TRIAL_SAMPLES} samples a class"
        compare(title, bench.learner(), *trials, given.turns)


if __name__ == "__main__":
    main()
