"""zMuGAN (Ghazal 2024, "Zero-shot Machine Unlearning using GANs", Alg. 5).

Unlearning without any data: samples come from generators that were inverted from the base model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from trainables.access import Access, Granted
from trainables.data.classes import labelled
from trainables.errors import TooFewSamples
from trainables.methods.impair_repair import DIRECTIONS, Direction, impair_repair
from trainables.training.bounds import check_at_least, check_one_of, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning
from trainables.training.passes import Plan, run

LEAST_PER_CLASS = 10
"""Samples of a class below which the trial ends: a class that is not repaired is forgotten too."""


@dataclass(frozen=True)
class ZMuGAN:
    """Samples of all generators, labelled by the original model, split into D_f and D_r; Alg. 8.

    Defaults: thesis, 4.4 (five generators, 1,000 samples each); temperature and batch sizes as
    MuGAN's. Batch norms stay as they are, unlike the thesis': where they follow images this unlike
    real ones, half of the retain accuracy is gone before anything is learnt. Reports how many
    samples fell to each class. Yields after impairing and after repairing. Raises TooFewSamples
    where a class is hardly among the samples.
    """

    learning_rate: float = 1e-4
    generators: int = 5
    samples_per_generator: int = 1000
    temperature: float = 4.0
    forget_batch_size: int = 32
    retain_batch_size: int = 64
    direction: Direction = "reference"
    batch_norm: BatchNorm = "frozen"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.INVERTED})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, temperature=self.temperature)
        check_one_of(DIRECTIONS, direction=self.direction)
        check_at_least(1, generators=self.generators)
        check_at_least(
            2,
            samples_per_generator=self.samples_per_generator,
            forget_batch_size=self.forget_batch_size,
            retain_batch_size=self.retain_batch_size,
        )
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield from run(self.plan(model, access, rng), model, rng)

    def plan(self, model: nn.Module, access: Granted, rng: torch.Generator) -> Plan:
        """The same as passes."""
        ensemble = range(self.generators)
        samples = access.inverted.draw_each(ensemble, self.samples_per_generator, rng)

        counts = torch.bincount(samples.labels, minlength=access.num_classes).tolist()
        access.report(samples_by_class=counts)
        if min(counts) < LEAST_PER_CLASS:
            scarcest = counts.index(min(counts))
            raise TooFewSamples(
                f"of {len(samples)} samples only {counts[scarcest]} fell to "
                f"{labelled([scarcest], access.class_names)} ({LEAST_PER_CLASS} are needed of each "
                "class); draw more (samples_per_generator, generators) or invert for longer "
                "(inversion.steps)"
            )
        yield from impair_repair(
            model,
            samples.of(access.forget_classes),
            samples.without(access.forget_classes),
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            forget_batch_size=self.forget_batch_size,
            retain_batch_size=self.retain_batch_size,
            direction=self.direction,
            batch_norm=self.batch_norm,
            layers=self.layers,
            rng=rng,
        )
