"""SCRUB (Kurmanji et al. 2023, "Towards Unbounded Machine Unlearning"; thesis, eq. 8, Alg. 2-4)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.models.answers import predict
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning, parameters_of
from trainables.training.losses import distillation
from trainables.training.passes import PHASE_ENDS, Pass, Plan, run
from trainables.training.supervised import adam

DECAY_EPOCHS = (5, 8, 9)
"""The learning rate is divided by ten after these epochs (the authors' code)."""


def disobedience(student: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Alg. 3: away from the teacher's logits, on D_f."""
    return -distillation(student, taught, temperature)


def obedience(
    student: Tensor, taught: Tensor, labels: Tensor, temperature: float, alpha: float, gamma: float
) -> Tensor:
    """Alg. 4: towards the teacher's logits and the labels, on D_r."""
    correctness = functional.cross_entropy(student, labels)
    return alpha * distillation(student, taught, temperature) + gamma * correctness


@dataclass(frozen=True)
class Scrub:
    """A student that disobeys its teacher on D_f and obeys it on D_r; yields after each epoch.

    The first `max_steps` epochs each start with a pass over D_f; every epoch has one over D_r.
    Learning rate: thesis, 4.4 (the authors': 5e-4). Alpha, gamma, `max_steps`, epochs, temperature
    and the batches of 64 on D_f are those of the authors' small-scale notebook; it has batches of
    32 on D_r and a weight decay of 0.1, with 5e-4, which is ours, beside it as a comment.
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
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET, Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, temperature=self.temperature)
        check_at_least(0, alpha=self.alpha, gamma=self.gamma, weight_decay=self.weight_decay)
        check_at_least(1, epochs=self.epochs, max_steps=self.max_steps)
        check_at_least(
            2, forget_batch_size=self.forget_batch_size, retain_batch_size=self.retain_batch_size
        )
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield from run(self.plan(model, access, rng), model, rng)

    def plan(self, model: nn.Module, access: Granted, rng: torch.Generator) -> Plan:
        """The passes of Alg. 2 over all of D_f and D_r."""
        return self.scrub(model, access.forget, access.retain)

    def scrub(self, model: nn.Module, forget: Samples, retain: Samples) -> Plan:
        """Alg. 2. The teacher never changes, so it is asked once, not in every epoch."""
        teacher = copy.deepcopy(model).eval()
        taught_forget = predict(teacher, forget.images).clone()
        taught_retain = predict(teacher, retain.images).clone()
        optimizer = adam(
            parameters_of(model, self.layers), self.learning_rate, weight_decay=self.weight_decay
        )
        max_epoch = Pass(
            forget.images,
            (taught_forget,),
            self.forget_batch_size,
            disobedience,
            optimizer,
            {"temperature": self.temperature},
            self.batch_norm,
        )
        min_epoch = Pass(
            retain.images,
            (taught_retain, retain.labels),
            self.retain_batch_size,
            obedience,
            optimizer,
            {"temperature": self.temperature, "alpha": self.alpha, "gamma": self.gamma},
            self.batch_norm,
        )
        for epoch in range(self.epochs):
            if epoch < self.max_steps:
                yield max_epoch
            yield min_epoch
            if epoch + 1 in DECAY_EPOCHS:
                optimizer.param_groups[0]["lr"] *= 0.1
            yield PHASE_ENDS
