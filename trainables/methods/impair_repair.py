"""The impair-repair step of MuGAN and zMuGAN (Ghazal 2024, Alg. 8 and eq. 12)."""

from __future__ import annotations

import copy
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.models.answers import BATCH, predict
from trainables.training.learning import BatchNorm, Layers, parameters_of
from trainables.training.losses import distillation
from trainables.training.passes import PHASE_ENDS, Pass, Plan
from trainables.training.supervised import adam

Direction = Literal["reference", "model"]
"""Whose distribution the KL divergence is taken from: KL(reference || model), as the thesis'
scripts compute it, or KL(model || reference), as eq. 12 prints it."""


DIRECTIONS: tuple[str, ...] = get_args(Direction)


def towards_model(outputs: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Eq. 12 as it is printed: `distillation` with the roles of model and reference exchanged."""
    return distillation(targets, outputs, temperature)


def impair_repair(
    model: nn.Module,
    forget: Samples,
    retain: Samples,
    *,
    learning_rate: float,
    temperature: float,
    forget_batch_size: int,
    retain_batch_size: int,
    direction: Direction,
    rng: torch.Generator,
    batch_norm: BatchNorm = "train",
    layers: Layers = "all",
) -> Plan:
    """One pass over synthetic D_f, one over synthetic D_r.

    Impair: on forget images the model must answer as the original does on uniform noise.
    Repair: cross-entropy on the retain images. One Adam serves both, so its moments carry over.
    """
    reference = copy.deepcopy(model).eval()
    optimizer = adam(parameters_of(model, layers), learning_rate)

    targets = [
        # The scripts draw noise in [0, 1), although images lie in [-1, 1].
        predict(reference, torch.rand(part.shape, generator=rng, device=part.device))
        for part in forget.images.split(BATCH)
    ]
    loss = distillation if direction == "reference" else towards_model
    weights = {"temperature": temperature}
    others = (torch.cat(targets),)
    yield Pass(forget.images, others, forget_batch_size, loss, optimizer, weights, batch_norm)
    yield PHASE_ENDS

    others = (retain.labels,)
    correct = functional.cross_entropy
    yield Pass(retain.images, others, retain_batch_size, correct, optimizer, batch_norm=batch_norm)
    yield PHASE_ENDS
