"""UNSIR (Tarun et al. 2024, "Fast Yet Effective Machine Unlearning"; thesis, eq. 3)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning, parameters_of
from trainables.training.supervised import adam, descend, train_epoch

NoiseMode = Literal["eval", "train"]

NOISE_LEARNING_RATE = 0.1
NOISE_BATCH = 256


def noise_loss(logits: Tensor, labels: Tensor, noise: Tensor, weight: float) -> Tensor:
    """Eq. 3: -cross-entropy (nats) + weight x mean over images of the sum of squared pixels.

    Logits (n, classes) of the noise (n, c, h, w) under the frozen model, labels (n,).
    """
    size = noise.square().flatten(1).sum(dim=1).mean()
    return weight * size - functional.cross_entropy(logits, labels)


def make_noise(
    model: nn.Module,
    label: int,
    shape: tuple[int, ...],
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    steps: int,
    rng: torch.Generator,
    mode: NoiseMode = "eval",
) -> Tensor:
    """Images of `shape` (n, c, h, w), N(0, 1) at first, after `steps` of Adam down `objective`.

    The objective is a scalar function of the logits (n, classes) of `model`, the labels (n,), all
    of them `label`, and the images. In `mode` "eval" a frozen copy is asked, and `model` stays as
    it is; in "train" it is asked itself, in training mode: batch norms normalise the noise by its
    own statistics, and their running statistics follow it. Its weights stay in any case.
    """
    frozen = model.train() if mode == "train" else copy.deepcopy(model).eval()
    learning = [weight for weight in frozen.parameters() if weight.requires_grad]
    for weight in learning:
        weight.requires_grad_(False)
    noise = torch.randn(shape, generator=rng, device=rng.device).requires_grad_(True)
    labels = torch.full((len(noise),), label, device=rng.device)
    optimizer = adam([noise], NOISE_LEARNING_RATE)
    for _ in range(steps):
        descend(objective(frozen(noise), labels, noise), optimizer)
    for weight in learning:
        weight.requires_grad_(True)
    return noise.detach()


@dataclass(frozen=True)
class Unsir:
    """Impair with noise that maximises the error on the forget classes, then repair on D_r.

    Defaults: the authors' (40 noise steps, lambda 0.1, 20 copies of the noise, 1,000 samples per
    retain class), with the thesis' learning rate. The authors' code uses three noise images of a
    batch by a slip; the paper, and this, use all. Yields after impairing and after repairing.

    Their notebook makes the noise with the model in training mode (`noise_mode` "train"), since it
    has just been built; the paper does not say. By default it is in evaluation mode, as when it is
    judged. With batch norms the two differ much: on digits noise of training mode has led to 12 and
    89 % (forget and retain accuracy) where that of evaluation mode led to 82 and 98 %.
    """

    impair_learning_rate: float = 5e-5
    repair_learning_rate: float = 5e-5
    noise_steps: int = 40
    noise_weight: float = 0.1
    noise_batches: int = 20
    samples_per_class: int = 1000
    batch_size: int = 256
    noise_mode: NoiseMode = "eval"
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(
            impair_learning_rate=self.impair_learning_rate,
            repair_learning_rate=self.repair_learning_rate,
            noise_weight=self.noise_weight,
        )
        check_at_least(
            1,
            noise_steps=self.noise_steps,
            noise_batches=self.noise_batches,
            samples_per_class=self.samples_per_class,
        )
        check_at_least(2, batch_size=self.batch_size)
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        shape = tuple(access.retain.images.shape[1:])
        noises = [self.noise(model, label, shape, rng) for label in access.forget_classes]
        retain = _at_most_per_class(access.retain, self.samples_per_class, rng)

        images = [noise.repeat(self.noise_batches, 1, 1, 1) for noise in noises]
        labels = [
            torch.full((len(copies),), label, device=copies.device)
            for copies, label in zip(images, access.forget_classes, strict=True)
        ]
        impairing = Samples(
            torch.cat([*images, retain.images]), torch.cat([*labels, retain.labels])
        )
        for samples, rate in (
            (impairing, self.impair_learning_rate),
            (retain, self.repair_learning_rate),
        ):
            optimizer = adam(parameters_of(model, self.layers), rate)
            train_epoch(model, samples, self.batch_size, optimizer, rng, batch_norm=self.batch_norm)
            yield model

    def noise(
        self, model: nn.Module, label: int, shape: tuple[int, ...], rng: torch.Generator
    ) -> Tensor:
        """A batch of images (256, c, h, w) on which `model`, frozen, errs most about `label`."""
        objective = partial(noise_loss, weight=self.noise_weight)
        what = (model, label, (NOISE_BATCH, *shape), objective, self.noise_steps)
        return make_noise(*what, rng, self.noise_mode)


def _at_most_per_class(samples: Samples, most: int, rng: torch.Generator) -> Samples:
    order = torch.randperm(len(samples), generator=rng, device=rng.device)
    labels = samples.labels[order]
    kept = [order[labels == label][:most] for label in labels.unique()]
    return samples.where(torch.cat(kept))
