"""Bad Teacher (Chundawat et al. 2023, "Can Bad Teaching Induce Forgetting?"; thesis, eq. 9)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.models.answers import predict
from trainables.models.catalogue import reinitialise
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning, parameters_of
from trainables.training.passes import PHASE_ENDS, Pass, Plan, run
from trainables.training.supervised import adam


def bad_teacher_loss(
    student: Tensor, competent: Tensor, incompetent: Tensor, forget: Tensor, temperature: float
) -> Tensor:
    """Eq. 9: KL(l_u softmax(T_d / t) + (1 - l_u) softmax(T / t) || softmax(M / t)) in nats.

    Logits (n, classes) each; `forget` (n,) is l_u: 1 for forget samples, 0 for retain samples.
    Mean over the batch.
    """
    unlearn = forget[:, None].to(student.dtype)
    target = unlearn * functional.softmax(incompetent / temperature, dim=1)
    target = target + (1 - unlearn) * functional.softmax(competent / temperature, dim=1)
    answered = functional.log_softmax(student / temperature, dim=1)
    return (torch.xlogy(target, target) - target * answered).sum(dim=1).mean()


@dataclass(frozen=True)
class BadTeacher:
    """A student that copies a random network on D_f and the original on D_r.

    Defaults: the authors' comparisons (Adam 1e-4, one epoch, 30 % of D_r, batches of 256, t = 1).
    Yields after each epoch.
    """

    learning_rate: float = 1e-4
    epochs: int = 1
    temperature: float = 1.0
    retain_fraction: float = 0.3
    batch_size: int = 256
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET, Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            retain_fraction=self.retain_fraction,
        )
        check_at_least(1, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield from run(self.plan(model, access, rng), model, rng)

    def plan(self, model: nn.Module, access: Granted, rng: torch.Generator) -> Plan:
        """Both teachers never change, so each is asked once, not in every epoch."""
        competent = copy.deepcopy(model).eval()
        incompetent = copy.deepcopy(model).eval()
        reinitialise(incompetent, seed=rng.initial_seed())

        forget, retain = access.forget, access.retain
        kept = torch.randperm(len(retain), generator=rng, device=rng.device)
        retain = retain.where(kept[: max(1, round(self.retain_fraction * len(retain)))])
        images = torch.cat([forget.images, retain.images])
        unlearn = torch.cat([torch.ones_like(forget.labels), torch.zeros_like(retain.labels)])
        taught = [predict(teacher, images).clone() for teacher in (competent, incompetent)]
        optimizer = adam(parameters_of(model, self.layers), self.learning_rate)
        weights = {"temperature": self.temperature}
        for _ in range(self.epochs):
            others = (*taught, unlearn)
            loss = bad_teacher_loss
            yield Pass(images, others, self.batch_size, loss, optimizer, weights, self.batch_norm)
            yield PHASE_ENDS
