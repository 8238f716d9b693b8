"""Unlearning by relabelling (Graves et al. 2020, "Amnesiac Machine Learning", section 4.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning
from trainables.training.supervised import fit


def other_labels(labels: Tensor, num_classes: int, rng: torch.Generator) -> Tensor:
    """For each label (n,) a uniform draw from the classes that it is not."""
    shift = torch.randint(1, num_classes, labels.shape, generator=rng, device=labels.device)
    return (labels + shift) % num_classes


@dataclass(frozen=True)
class RandomLabels:
    """Fine-tune on D_f with random wrong labels; yields after each epoch.

    Defaults: three epochs of Adam 1e-4. With `repair` D_r is trained on as well, as in the thesis'
    scripts, and asked for in `needs`.
    """

    learning_rate: float = 1e-4
    epochs: int = 3
    batch_size: int = 64
    repair: bool = False
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        check_at_least(1, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)
        check_learning(self.batch_norm, self.layers)

    @property
    def needs(self) -> frozenset[Access]:
        return frozenset({Access.FORGET, Access.RETAIN} if self.repair else {Access.FORGET})

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        labels = other_labels(access.forget.labels, access.num_classes, rng)
        samples = Samples(access.forget.images, labels)
        if self.repair:
            samples = Samples(
                torch.cat([samples.images, access.retain.images]),
                torch.cat([samples.labels, access.retain.labels]),
            )
        for _ in fit(
            model,
            samples,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            rng=rng,
            batch_norm=self.batch_norm,
            layers=self.layers,
        ):
            yield model
