"""The classifiers, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor, nn

from trainables.errors import DataError, InvalidRequest, unknown
from trainables.models import names
from trainables.models.weights import FLOATING, INTEGER, LAYOUTS, Weights, shown

MODELS: dict[str, Callable[[tuple[int, int, int], int, float], nn.Module]] = {
    name: getattr(import_module(module), kind)
    for name, (module, kind) in ((name, path.split(":")) for name, path in names.MODELS.items())
}


def build(
    name: str, image_shape: tuple[int, int, int], num_classes: int, width: float, seed: int
) -> nn.Module:
    """A freshly initialised classifier on the CPU; the same seed gives the same weights.

    `image_shape` is (channels, height, width in pixels); `width` scales the channels. Raises
    InvalidRequest for an unknown model or a size that it cannot take.
    """
    if name not in MODELS:
        raise InvalidRequest(unknown("model", name, MODELS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](image_shape, num_classes, width)


def memory_format(name: str, image_shape: tuple[int, int, int]) -> torch.memory_format:
    """The layout of weights in which the model is faster.

    Channels last is: AllCNN's step takes three quarters of the time on a CPU. It is not where the
    deep layers see images of one pixel, as VGG16's and ResNet9's do on small images.
    """
    if name == "allcnn" or min(image_shape[1:]) >= 16:
        return torch.channels_last
    return torch.contiguous_format


def check(name: str, image_shape: tuple[int, int, int], num_classes: int, width: float) -> None:
    """Raises InvalidRequest if `build` would; makes no weights."""
    with torch.device("meta"):
        build(name, image_shape, num_classes, width, seed=0)


def check_weights(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    width: float,
    weights: Weights,
) -> None:
    """Raises DataError if a file of weights does not fit the model that `build` would make, tensor
    by tensor, or holds what cannot be weights. Values of F16, BF16 and F64 can."""
    state = _state_of(name, image_shape, num_classes, width)
    misfit = _misfit(state, weights)
    if misfit is not None:
        other = weights.wrapped() or _fitting(image_shape, weights)
        raise DataError(f"{weights.path}: does not fit {name} ({misfit}){other}")
    for tensor, value in state.items():
        wanted = FLOATING if value.is_floating_point() else INTEGER
        kind = weights.types.get(tensor)
        if kind is not None and kind not in wanted:
            raise DataError(
                f"{weights.path}: {tensor} is of type {kind}; possible: {', '.join(wanted)}"
            )
        if tensor in weights.faults:
            raise DataError(f"{weights.path}: {tensor} is {weights.faults[tensor]}")


def _state_of(
    name: str, image_shape: tuple[int, int, int], num_classes: int, width: float
) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build(name, image_shape, num_classes, width, seed=0).state_dict()


def _misfit(state: dict[str, Tensor], weights: Weights) -> str | None:
    """The first tensor by whose name or shape these are not the weights of such a state."""
    for tensor, value in state.items():
        found = weights.shapes.get(tensor)
        if found is None:
            return f"{tensor} is missing"
        if found != tuple(value.shape):
            return f"{tensor} is of shape {found}, not {tuple(value.shape)}"
    for tensor in weights.shapes:
        if tensor not in state:
            return f"{shown(tensor)} is left over"
    return None


def _fitting(image_shape: tuple[int, int, int], weights: Weights) -> str:
    """Which of our models has tensors of these names and shapes, if any has."""
    for name in MODELS:
        try:
            shape = (weights.channels, *image_shape[1:])
            width = weights.width(name)
            state = _state_of(name, shape, weights.num_classes, width)
        except InvalidRequest:
            continue
        if {tensor: tuple(value.shape) for tensor, value in state.items()} == weights.shapes:
            narrow = f" --width {width:g}" if width != 1 else ""
            return (
                f"; it fits {name} (--model {name}{narrow}) of {weights.num_classes} classes and "
                f"{weights.channels} channels"
            )
    return f"; possible layouts: {LAYOUTS}"


def reinitialise(model: nn.Module, seed: int) -> None:
    """Give every layer of `model` fresh weights, in place, as after construction."""
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
