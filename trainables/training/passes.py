"""Unlearning as a plan of passes over samples, which can be run for one model or for many at once.

A method that only trains says which passes there are, on which tensors, and what a step goes down;
`run` takes the steps. Several trials' plans go through theirs side by side in
`trainables.training.fused`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.data.dataset import index_batches
from trainables.training.learning import BatchNorm, learning
from trainables.training.supervised import descend

PHASE_ENDS = None
"""What a plan yields where a phase or an epoch ends, at which the model can be looked at."""


@dataclass(frozen=True)
class Pass:
    """One shuffled pass: `images` (n, c, h, w), and in `others`, each (n, ...), what outputs are
    compared with, such as labels or a teacher's logits.

    A step goes down `loss(outputs, *others, **weights)`, a scalar, in training mode, with
    `optimizer`. `loss` takes numbers that differ between trials from `weights`, so that trials
    with the same function can share a step. What `optimizer` has not, does not learn; `batch_norm`
    says whether batch norms follow the images (`trainables.training.learning`).
    """

    images: Tensor
    others: tuple[Tensor, ...]
    batch_size: int
    loss: Callable[..., Tensor]
    optimizer: torch.optim.Optimizer
    weights: Mapping[str, float] = field(default_factory=dict)
    batch_norm: BatchNorm = "train"

    def batches(self, rng: torch.Generator) -> Iterator[Tensor]:
        """The pass' batches as indices, in an order drawn from `rng`."""
        return index_batches(len(self.images), self.batch_size, rng, self.images.device)

    def step(self, model: nn.Module, rows: Tensor) -> None:
        """One step on the samples at `rows` (n,). Raises Diverged."""
        outputs = model(self.images[rows])
        others = [tensor[rows] for tensor in self.others]
        descend(self.loss(outputs, *others, **self.weights), self.optimizer)


Plan = Iterator[Pass | None]
"""Passes in their order, and `PHASE_ENDS`. What comes next may depend on the model as it is."""


def run(plan: Plan, model: nn.Module, rng: torch.Generator) -> Iterator[nn.Module]:
    """Take the steps of `plan`, in place; yields `model` wherever a phase ends. Raises Diverged."""
    for each in plan:
        if each is PHASE_ENDS:
            yield model
            continue
        with learning(model, each.optimizer, each.batch_norm):
            for rows in each.batches(rng):
                each.step(model, rows)
