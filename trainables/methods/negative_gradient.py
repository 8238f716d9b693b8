"""Gradient ascent on the forget data, as in the thesis' scripts (NegGrad: Golatkar et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning, learning, parameters_of
from trainables.training.supervised import adam, descend


@dataclass(frozen=True)
class NegativeGradient:
    """Ascend cross-entropy on D_f; yields after each epoch. Defaults: the thesis' scripts.

    Nothing holds the model back, so it diverges easily; a trial that does is recorded as such.
    """

    learning_rate: float = 1e-4
    epochs: int = 2
    batch_size: int = 128
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        check_at_least(1, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        optimizer = adam(parameters_of(model, self.layers), self.learning_rate)
        for _ in range(self.epochs):
            with learning(model, optimizer, self.batch_norm):
                for images, labels in access.forget.batches(self.batch_size, rng):
                    descend(-functional.cross_entropy(model(images), labels), optimizer)
            yield model
