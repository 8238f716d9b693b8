"""Amnesiac unlearning (Graves et al. 2020, "Amnesiac Machine Learning", section 4.2).

While the base model was trained, the parameter update of every batch that held forget samples was
recorded; unlearning takes these updates back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from trainables.access import Access, Granted
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.supervised import fit


@dataclass(frozen=True)
class Amnesiac:
    """theta <- theta - scale x the sum of the recorded updates, then a repair on D_r.

    Batches mix all classes, so forgetting a class touches nearly every batch and the model falls
    towards its initialisation: true to the paper, which forgets few samples. Batch-norm statistics
    are no parameters and stay as they are until the repair. Yields after taking the updates back
    and after each epoch of repair.
    """

    scale: float = 1.0
    repair_learning_rate: float = 1e-3
    repair_epochs: int = 1
    batch_size: int = 64
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET, Access.RETAIN, Access.LOG})

    def __post_init__(self) -> None:
        check_positive(scale=self.scale, repair_learning_rate=self.repair_learning_rate)
        check_at_least(0, repair_epochs=self.repair_epochs)
        check_at_least(2, batch_size=self.batch_size)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.sub_(access.log[name], alpha=self.scale)
        yield model

        for _ in fit(
            model,
            access.retain,
            epochs=self.repair_epochs,
            learning_rate=self.repair_learning_rate,
            batch_size=self.batch_size,
            rng=rng,
        ):
            yield model
