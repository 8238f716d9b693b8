"""Small stand-ins whose every answer is known: seeds, generators and a classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.generators import dcgan

SHAPE = (1, 2, 2)
"""The shape of the stand-ins' images."""


def rng(seed: int = 0) -> torch.Generator:
    """A random source on the CPU."""
    return torch.Generator().manual_seed(seed)


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and running statistics."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def batches_tracked(model: nn.Module) -> int:
    """How many batches the first batch norm of `model` has learnt from."""
    norm = next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    assert norm.num_batches_tracked is not None
    return int(norm.num_batches_tracked)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


class CodedGenerator(dcgan.Generator):
    """Paints `code` over an image where its noise exceeds `threshold`, else another code."""

    def __init__(self, code: int, threshold: float = float("-inf"), otherwise: int = 0) -> None:
        nn.Module.__init__(self)
        self.image_shape = SHAPE
        self.code, self.threshold, self.otherwise = code, threshold, otherwise
        self.sizes: list[int] = []
        self.passed = 0

    def forward(self, noise: Tensor) -> Tensor:
        passes = noise[:, 0] > self.threshold
        self.sizes.append(len(noise))
        self.passed += int(passes.sum())
        codes = torch.where(passes, float(self.code), float(self.otherwise)) / 10
        # The noise in the last pixel tells images of one code apart.
        images = codes[:, None, None, None].repeat(1, *SHAPE)
        images[:, 0, -1, -1] = noise[:, 1]
        return images


class CodedClassifier(nn.Module):
    """Answers the code in an image's first pixel, one of `classes`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        codes = torch.arange(self.classes) / 10
        return -(images[:, 0, 0, :1] - codes).abs()
