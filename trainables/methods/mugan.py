"""MuGAN (Ghazal 2024, "Zero-shot Machine Unlearning using GANs", Alg. 7).

Unlearning with one GAN per class, trained while the training data was still at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from trainables.access import Access, Granted
from trainables.methods.impair_repair import DIRECTIONS, Direction, impair_repair
from trainables.training.bounds import check_at_least, check_one_of, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning
from trainables.training.passes import Plan, run


@dataclass(frozen=True)
class MuGAN:
    """Synthetic D_f from the forget classes' GANs, synthetic D_r from all others', then Alg. 8.

    Defaults of learning rate and samples per class: thesis, 4.4; of temperature and batch sizes:
    the thesis' scripts. Yields after impairing and after repairing.
    """

    learning_rate: float = 1e-4
    samples_per_class: int = 2500
    temperature: float = 4.0
    forget_batch_size: int = 32
    retain_batch_size: int = 64
    direction: Direction = "reference"
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.GANS})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, temperature=self.temperature)
        check_one_of(DIRECTIONS, direction=self.direction)
        check_at_least(2, samples_per_class=self.samples_per_class)
        check_at_least(
            2, forget_batch_size=self.forget_batch_size, retain_batch_size=self.retain_batch_size
        )
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield from run(self.plan(model, access, rng), model, rng)

    def plan(self, model: nn.Module, access: Granted, rng: torch.Generator) -> Plan:
        """The same as passes."""
        forget = access.gans.draw_each(access.forget_classes, self.samples_per_class, rng)
        retain = access.gans.draw_each(access.retain_classes, self.samples_per_class, rng)
        yield from impair_repair(
            model,
            forget,
            retain,
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            forget_batch_size=self.forget_batch_size,
            retain_batch_size=self.retain_batch_size,
            direction=self.direction,
            batch_norm=self.batch_norm,
            layers=self.layers,
            rng=rng,
        )
