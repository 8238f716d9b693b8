"""What of a model learns: all of its layers or the last ones, and whether batch norms follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.errors import InvalidRequest
from trainables.training.bounds import check_one_of

BatchNorm = Literal["train", "frozen"]
"""Whether batch norms normalise by the batch and follow the data with their running statistics, or
stay with the statistics that they have. Of data unlike those of base training, "train" replaces
what the model knows of real images even where nothing is learnt."""

Layers = Literal["all"] | int
"""How many of the last parametrised layers learn; all where there are no more.

A layer is a module with a weight of two or more dimensions of its own (a convolution, a linear
layer), in the order in which the model registers them; what else has parameters, as a norm has,
goes with the layer before it, or the first."""


def check_learning(batch_norm: str, layers: Layers) -> None:
    """Raises InvalidRequest for what is neither."""
    check_one_of(get_args(BatchNorm), batch_norm=batch_norm)
    if layers != "all" and (isinstance(layers, str) or layers < 1):
        raise InvalidRequest(f"layers is {layers!r}; possible: all, or a whole number from 1 up")


def parameters_of(
    model: nn.Module, layers: Layers, before_head: bool = False
) -> list[nn.Parameter]:
    """The parameters of the last `layers` layers, in the model's order; or of those before the last
    one (of that where there are none): then only features can change what is answered."""
    found: list[list[nn.Parameter]] = [[]]
    begun = False  # what comes before the first layer goes with it
    known: set[int] = set()  # a parameter that two modules share belongs to the first
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in known]
        known |= {id(parameter) for parameter in own}
        is_layer = any(parameter.dim() >= 2 for parameter in own)
        if is_layer and begun:
            found.append([])
        begun |= is_layer
        found[-1] += own
    if before_head and len(found) > 1:
        del found[-1]
    wanted = found if layers == "all" else found[-layers:]
    return [parameter for layer in wanted for parameter in layer]


def set_training(model: nn.Module, batch_norm: BatchNorm) -> None:
    """Training mode, but for batch norms that are frozen."""
    model.train()
    if batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


@contextmanager
def learning(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch_norm: BatchNorm
) -> Iterator[None]:
    """In the body, `model` is in training mode and has gradients of what `optimizer` changes alone:
    what lies before that is passed through forwards only."""
    wanted = {id(p) for group in optimizer.param_groups for p in group["params"]}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in wanted]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        set_training(model, batch_norm)
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
