"""JiT (Foster et al. 2024, "Zero-Shot Machine Unlearning at Scale via Lipschitz Regularization";
thesis, eq. 6-7, Alg. 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.access import Access, Granted
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning, learning, parameters_of
from trainables.training.supervised import adam, descend


def lipschitz_loss(
    model: nn.Module, images: Tensor, sigma: float, perturbations: int, rng: torch.Generator
) -> Tensor:
    """Eq. 7: mean over perturbations of the sum over images of ||M(x) - M(x')|| / ||x - x'||.

    x' is x (n, c, h, w) plus noise N(0, sigma^2), clamped to the batch's range; the divisor is the
    norm after clamping. As in the authors' code no gradient flows through M(x').
    """
    outputs = model(images)
    low, high = images.min(), images.max()
    loss = outputs.new_zeros(())
    for _ in range(perturbations):
        noise = torch.randn(images.shape, generator=rng, device=images.device) * sigma
        perturbed = (images + noise).clamp(low, high)
        with torch.no_grad():
            shifted = model(perturbed)
        moved = torch.linalg.vector_norm(outputs - shifted, dim=1)
        distance = torch.linalg.vector_norm((images - perturbed).flatten(1), dim=1)
        loss = loss + (moved / distance).sum()
    mean: Tensor = loss / perturbations
    return mean


@dataclass(frozen=True)
class JiT:
    """Smooths the model around the forget samples, seeing nothing else; yields after each epoch.

    Defaults: thesis, 4.4. The model is in training mode, so its batch-norm statistics follow the
    (perturbed) forget samples: the method is known to be weak on such models (thesis, 2.2.2). The
    authors' code never clears gradients between batches; here each step has its own.
    """

    learning_rate: float = 1e-6
    sigma: float = 0.3
    perturbations: int = 100
    epochs: int = 1
    batch_size: int = 64
    batch_norm: BatchNorm = "train"
    layers: Layers = "all"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.FORGET})

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, sigma=self.sigma)
        check_at_least(1, perturbations=self.perturbations, epochs=self.epochs)
        check_at_least(2, batch_size=self.batch_size)
        check_learning(self.batch_norm, self.layers)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        optimizer = adam(parameters_of(model, self.layers), self.learning_rate)
        for _ in range(self.epochs):
            with learning(model, optimizer, self.batch_norm):
                for images, _ in access.forget.batches(self.batch_size, rng):
                    loss = lipschitz_loss(model, images, self.sigma, self.perturbations, rng)
                    descend(loss, optimizer)
            yield model
