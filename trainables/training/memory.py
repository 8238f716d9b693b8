"""How much memory training a model takes, told from its shape, and how much there is."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def training_bytes(model: nn.Module, image_shape: tuple[int, int, int], batch_size: int) -> int:
    """Bytes that training holds of one model, about: its weights, their gradients and Adam's two
    moments, and each layer's outputs for a batch, which wait for the way back, with their
    gradients. Computes nothing."""
    outputs = 0

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal outputs
        outputs += output.numel() * output.element_size()

    shape_only = copy.deepcopy(model).to("meta").train()
    for module in shape_only.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    shape_only(torch.empty(batch_size, *image_shape, device="meta"))
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return 4 * weights + 2 * outputs


def gpu_bytes() -> int | None:
    """The memory of this process' GPU; None where it has none."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(0).total_memory)
