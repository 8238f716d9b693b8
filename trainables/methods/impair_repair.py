"""The impair-repair step of MuGAN and zMuGAN (Ghazal 2024, Alg. 8 and eq. 12)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from trainables.data import Samples
from trainables.losses import distillation
from trainables.training import descend

Direction = Literal["reference", "model"]
"""Whose distribution the KL divergence is taken from: KL(reference || model), as the thesis'
scripts compute it, or KL(model || reference), as eq. 12 prints it."""


DIRECTIONS: tuple[str, ...] = get_args(Direction)


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
) -> Iterator[nn.Module]:
    """One pass over synthetic D_f, one over synthetic D_r, in place; yields `model` after each.

    Impair: on forget images the model must answer as the original does on uniform noise.
    Repair: cross-entropy on the retain images. One Adam serves both, so its moments carry over.
    """
    reference = copy.deepcopy(model).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)

    model.train()
    for images, _ in forget.batches(forget_batch_size, rng):
        # The scripts draw noise in [0, 1), although images lie in [-1, 1].
        noise = torch.rand(images.shape, generator=rng, device=images.device)
        with torch.no_grad():
            target = reference(noise)
        outputs = model(images)
        if direction == "reference":
            loss = distillation(student=outputs, teacher=target, temperature=temperature)
        else:
            loss = distillation(student=target, teacher=outputs, temperature=temperature)
        descend(loss, optimizer)
    yield model

    model.train()
    for images, labels in retain.batches(retain_batch_size, rng):
        descend(functional.cross_entropy(model(images), labels), optimizer)
    yield model
