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
from trainables.data import Samples
from trainables.methods.bounds import check_at_least, check_positive
from trainables.models import reinitialise
from trainables.training import descend


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
    return functional.kl_div(answered, target, reduction="batchmean")


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
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET, Access.RETAIN})

    def __post_init__(self) -> None:
        check_positive(
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            retain_fraction=self.retain_fraction,
        )
        check_at_least(1, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        competent = copy.deepcopy(model).eval()
        incompetent = copy.deepcopy(model).eval()
        reinitialise(incompetent, seed=rng.initial_seed())

        forget, retain = access.forget, access.retain
        kept = torch.randperm(len(retain), generator=rng, device=rng.device)
        retain = retain.where(kept[: max(1, round(self.retain_fraction * len(retain)))])
        # l_u takes the place of the labels, which the method does not use.
        mixed = Samples(
            torch.cat([forget.images, retain.images]),
            torch.cat([torch.ones_like(forget.labels), torch.zeros_like(retain.labels)]),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        for _ in range(self.epochs):
            model.train()
            for images, unlearn in mixed.batches(self.batch_size, rng):
                with torch.no_grad():
                    good, bad = competent(images), incompetent(images)
                loss = bad_teacher_loss(model(images), good, bad, unlearn, self.temperature)
                descend(loss, optimizer)
            yield model
