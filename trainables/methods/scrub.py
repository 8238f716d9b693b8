"""SCRUB (Kurmanji et al. 2023, "Towards Unbounded Machine Unlearning"; thesis, eq. 8, Alg. 2-4)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.data import Samples
from trainables.losses import distillation
from trainables.methods.bounds import check_at_least, check_positive
from trainables.training import descend

DECAY_EPOCHS = (5, 8, 9)
"""The learning rate is divided by ten after these epochs (the authors' code)."""


@dataclass(frozen=True)
class Scrub:
    """A student that disobeys its teacher on D_f and obeys it on D_r; yields after each epoch.

    The first `max_steps` epochs each start with a pass over D_f; every epoch has one over D_r.
    Learning rate: thesis, 4.4; the rest: the authors' small-scale experiments.
    """

    learning_rate: float = 5e-5
    alpha: float = 0.5
    gamma: float = 1.0
    max_steps: int = 3
    epochs: int = 10
    temperature: float = 2.0
    forget_batch_size: int = 64
    retain_batch_size: int = 64
    weight_decay: float = 5e-4
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET, Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, temperature=self.temperature)
        check_at_least(0, alpha=self.alpha, gamma=self.gamma, weight_decay=self.weight_decay)
        check_at_least(1, epochs=self.epochs, max_steps=self.max_steps)
        check_at_least(
            2, forget_batch_size=self.forget_batch_size, retain_batch_size=self.retain_batch_size
        )

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield from self.scrub(model, access.forget, access.retain, rng)

    def scrub(
        self, model: nn.Module, forget: Samples, retain: Samples, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        """Alg. 2, in place; yields `model` after each epoch."""
        teacher = copy.deepcopy(model).eval()
        optimizer = torch.optim.Adam(
            model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, DECAY_EPOCHS, gamma=0.1)
        for epoch in range(self.epochs):
            model.train()
            if epoch < self.max_steps:
                self._max_epoch(model, teacher, forget, optimizer, rng)
            self._min_epoch(model, teacher, retain, optimizer, rng)
            schedule.step()
            yield model

    def _max_epoch(
        self,
        student: nn.Module,
        teacher: nn.Module,
        forget: Samples,
        optimizer: torch.optim.Optimizer,
        rng: torch.Generator,
    ) -> None:
        """Alg. 3: away from the teacher on D_f."""
        for images, _ in forget.batches(self.forget_batch_size, rng):
            with torch.no_grad():
                taught = teacher(images)
            descend(-distillation(student(images), taught, self.temperature), optimizer)

    def _min_epoch(
        self,
        student: nn.Module,
        teacher: nn.Module,
        retain: Samples,
        optimizer: torch.optim.Optimizer,
        rng: torch.Generator,
    ) -> None:
        """Alg. 4: towards the teacher and the labels on D_r."""
        for images, labels in retain.batches(self.retain_batch_size, rng):
            with torch.no_grad():
                taught = teacher(images)
            answered = student(images)
            obedience = distillation(answered, taught, self.temperature)
            correctness = functional.cross_entropy(answered, labels)
            descend(self.alpha * obedience + self.gamma * correctness, optimizer)
