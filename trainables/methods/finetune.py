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

from trainables.access import Access, Granted
from trainables.methods.bounds import check_at_least, check_positive
from trainables.training import fit


@dataclass(frozen=True)
class Finetune:
    """Go on training on D_r alone, with Adam on cross-entropy; yields after each epoch."""

    learning_rate: float = 1e-3
    epochs: int = 5
    batch_size: int = 64
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        check_at_least(1, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        for _ in fit(
            model,
            access.retain,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            rng=rng,
        ):
            yield model
