"""The classifiers, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from trainables.errors import DataError, InvalidRequest, unknown
from trainables.models.allcnn import AllCNN
from trainables.models.resnet9 import ResNet9
from trainables.models.vgg16 import VGG16
from trainables.weights import Weights

MODELS: dict[str, Callable[[tuple[int, int, int], int, float], nn.Module]] = {
    "allcnn": AllCNN,
    "vgg16": VGG16,
    "resnet9": ResNet9,
}


def build(
    name: str, image_shape: tuple[int, int, int], num_classes: int, width: float, seed: int
) -> nn.Module:
    """A freshly initialised classifier on the CPU; the same seed gives the same weights.

    `image_shape` is (channels, height, width in pixels); `width` scales the channels where the
    model allows it. Raises InvalidRequest for an unknown model or a size that it cannot take.
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
    """Raises DataError if a file of weights does not fit the model that `build` would make."""
    with torch.device("meta"):
        model = build(name, image_shape, num_classes, width, seed=0)
    for tensor, value in model.state_dict().items():
        found = weights.shapes.get(tensor)
        if found != tuple(value.shape):
            what = "missing" if found is None else f"of shape {found}, not {tuple(value.shape)}"
            raise DataError(f"{weights.path}: does not fit {name} ({tensor} is {what})")


def reinitialise(model: nn.Module, seed: int) -> None:
    """Give every layer of `model` fresh weights, in place, as after construction."""
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
