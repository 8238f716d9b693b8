"""Fine-tuning on the retain data, which forgets the rest by neglect (FNTN in the thesis' tables).

Catastrophic forgetting: Goodfellow et al. 2013, "An Empirical Investigation of Catastrophic
Forgetting in Gradient-Based Neural Networks".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning, parameters_of
from trainables.training.passes import PHASE_ENDS, Pass, Plan, run
from trainables.training.supervised import adam


@dataclass(frozen=True)
class Finetune:
    """Go on training on D_r alone, with Adam on cross-entropy; yields after each epoch."""

    learning_rate: float = 1e-3
    epochs: int = 5
    batch_size: int = 64
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        check_at_least(1, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield from run(self.plan(model, access, rng), model, rng)

    def plan(self, model: nn.Module, access: Granted, rng: torch.Generator) -> Plan:
        """An epoch is a pass."""
        images, labels = access.retain.images, access.retain.labels
        optimizer = adam(parameters_of(model, self.layers), self.learning_rate)
        for _ in range(self.epochs):
            loss = functional.cross_entropy
            yield Pass(images, (labels,), self.batch_size, loss, optimizer, {}, self.batch_norm)
            yield PHASE_ENDS
