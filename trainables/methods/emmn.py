"""EMMN, the error-minimising / error-maximising noise of Chundawat et al. 2023, "Zero-Shot Machine
Unlearning".

UNSIR's impair and repair without any data: noise takes the place of the retain samples, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.methods.unsir import make_noise, noise_loss
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning
from trainables.training.supervised import fit


def minimising_loss(logits: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
    """Cross-entropy (nats) of the logits (n, classes) with the labels (n,); any size of noise."""
    return functional.cross_entropy(logits, labels)


@dataclass(frozen=True)
class EMMN:
    """Impair on noise of every class, each labelled with its class, then repair on the retain
    classes' noise.

    The noise maximises the model's error on the forget classes and minimises it on the others.
    Defaults: the thesis' scripts (4 noise images per class, each used 80 times, 25 and 30 noise
    steps, 2 epochs, weight 0.1, 4 images in a training batch), its learning rate. Public code uses
    only as many of the noise images as there are channels, by a slip; this uses all. Yields after
    each epoch of impairing and of repairing.
    """

    learning_rate: float = 5e-5
    epochs: int = 2
    repair_epochs: int = 1
    noise_batch: int = 4
    repeats: int = 80
    maximise_steps: int = 25
    minimise_steps: int = 30
    noise_weight: float = 0.1
    batch_size: int = 4
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset()

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, noise_weight=self.noise_weight)
        check_at_least(0, repair_epochs=self.repair_epochs)
        check_at_least(
            1,
            epochs=self.epochs,
            repeats=self.repeats,
            maximise_steps=self.maximise_steps,
            minimise_steps=self.minimise_steps,
        )
        check_at_least(2, noise_batch=self.noise_batch, batch_size=self.batch_size)
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        # All noise is made before the first step: it is about the model as it was given.
        noises = {
            label: self.noise(model, label, access, rng) for label in range(access.num_classes)
        }
        everything = self.repeated(noises)
        retain = everything.without(access.forget_classes)
        for samples, epochs in ((everything, self.epochs), (retain, self.repair_epochs)):
            for _ in fit(
                model,
                samples,
                epochs=epochs,
                learning_rate=self.learning_rate,
                batch_size=self.batch_size,
                rng=rng,
                batch_norm=self.batch_norm,
                layers=self.layers,
            ):
                yield model

    def noise(self, model: nn.Module, label: int, access: Granted, rng: torch.Generator) -> Tensor:
        """Images (noise_batch, c, h, w) on which `model` errs most about a forget class, least
        about a retain class."""
        shape = (self.noise_batch, *access.image_shape)
        if label in access.forget_classes:
            maximising = partial(noise_loss, weight=self.noise_weight)
            return make_noise(model, label, shape, maximising, self.maximise_steps, rng)
        return make_noise(model, label, shape, minimising_loss, self.minimise_steps, rng)

    def repeated(self, noises: dict[int, Tensor]) -> Samples:
        """Every image `repeats` times, with the class that it was made for as its label."""
        images = torch.cat(list(noises.values()))
        labels = torch.tensor(list(noises), device=images.device).repeat_interleave(
            self.noise_batch
        )
        return Samples(images.repeat(self.repeats, 1, 1, 1), labels.repeat(self.repeats))
