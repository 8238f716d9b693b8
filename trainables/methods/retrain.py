"""Retraining from scratch on the retain data (RTRN in the thesis' tables): the gold standard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from trainables.access import Access, Granted
from trainables.models.catalogue import reinitialise
from trainables.scenario import THESIS_BATCH_SIZE, THESIS_EPOCHS, THESIS_LEARNING_RATE
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.supervised import fit


@dataclass(frozen=True)
class Retrain:
    """A fresh initialisation, trained on D_r by the recipe of the base model (thesis, 4.3.1)."""

    epochs: int = THESIS_EPOCHS
    learning_rate: float = THESIS_LEARNING_RATE
    batch_size: int = THESIS_BATCH_SIZE
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        check_at_least(1, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        reinitialise(model, seed=rng.initial_seed())
        for _ in fit(
            model,
            access.retain,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            rng=rng,
        ):
            yield model
