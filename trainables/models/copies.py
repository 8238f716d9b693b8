"""Networks and weights that share nothing with those they were taken from."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def clone(model: nn.Module) -> nn.Module:
    """A copy that shares no tensor with `model`."""
    return copy.deepcopy(model)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and running statistics, in the layout in which they are saved."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
