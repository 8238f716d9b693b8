"""Supervised training, shared by the base model, retraining and fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.training.learning import BatchNorm, Layers, learning, parameters_of


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One optimiser step down `loss` (a scalar).

    Raises Diverged for a non-finite loss. On a GPU looking at every loss would stall the stream,
    so there the weights are checked each time a method yields instead.
    """
    if loss.device.type == "cpu" and not math.isfinite(loss.item()):
        raise Diverged(f"the loss became {loss.item()}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def adam(
    parameters: Iterable[Tensor],
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> torch.optim.Adam:
    """Adam (Kingma and Ba 2015) in PyTorch's fused form, which updates all weights in one kernel:
    a twentieth of a step of a small network otherwise goes into starting one for each tensor.

    Gradients that are not autograd's must have the layout of their weights: on a CPU this form
    does not look, and goes wrong silently."""
    return torch.optim.Adam(
        parameters, lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=True
    )


def train_epoch(
    model: nn.Module,
    samples: Samples,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    rng: torch.Generator,
    after_step: Callable[[Tensor], None] | None = None,
    batch_norm: BatchNorm = "train",
) -> float:
    """One pass over `samples` on cross-entropy, in place; the mean loss (nats).

    `after_step` is told the labels of each batch, once the weights have changed. What `optimizer`
    has not, does not learn; `batch_norm` is as in `trainables.training.learning`.
    """
    total = torch.zeros((), device=samples.labels.device)
    with learning(model, optimizer, batch_norm):
        for images, labels in samples.batches(batch_size, rng):
            loss = functional.cross_entropy(model(images), labels)
            descend(loss, optimizer)
            if after_step is not None:
                after_step(labels)
            total += loss.detach() * len(labels)
    return float(total) / len(samples)


def fit(
    model: nn.Module,
    samples: Samples,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    rng: torch.Generator,
    after_step: Callable[[Tensor], None] | None = None,
    batch_norm: BatchNorm = "train",
    layers: Layers = "all",
) -> Iterator[float]:
    """Train `model` in place with Adam on cross-entropy; yields each epoch's mean loss (nats).

    `batch_norm` and `layers` say what learns (`trainables.training.learning`).
    """
    optimizer = adam(parameters_of(model, layers), learning_rate)
    for _ in range(epochs):
        yield train_epoch(model, samples, batch_size, optimizer, rng, after_step, batch_norm)


def check_finite(model: nn.Module) -> None:
    """Raises Diverged if any weight or running statistic of `model` is not finite."""
    values = [t for t in model.state_dict().values() if t.is_floating_point()]
    if not bool(torch.stack([value.isfinite().all() for value in values]).all()):
        raise Diverged("the weights became non-finite")
