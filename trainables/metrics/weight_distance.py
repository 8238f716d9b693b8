"""How far two models lie apart in their parameters."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def weight_distance(model: nn.Module, reference: nn.Module) -> tuple[float, float]:
    """L2 distance over all parameters, and the same over the reference's L2 norm.

    Models of one architecture; running statistics of batch norm are no parameters.
    """
    squared = norm = 0.0
    for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        squared += float((mine.double() - theirs.double()).square().sum())
        norm += float(theirs.double().square().sum())
    return squared**0.5, (squared / norm) ** 0.5
