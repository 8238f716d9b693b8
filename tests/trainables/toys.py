"""Small stand-ins whose every answer is known: seeds, generators and a classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainables.data.dataset import Samples
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


def numbered(count: int, first: int = 0) -> Samples:
    """Images (count, 1, 2, 2), the first pixel of which numbers them from `first`; three labels."""
    images = torch.randn(count, 1, 2, 2, generator=rng(first + 1))
    images[:, 0, 0, 0] = torch.arange(first, first + count)
    return Samples(images, torch.arange(count) % 3)


def numbers(batches: list[Tensor]) -> list[int]:
    """The numbers of `numbered` images in their order."""
    return [int(number) for images in batches for number in images[:, 0, 0, 0]]


class Witness(nn.Module):
    """Notes every batch that it ("model") and its copies ("copy 1", ...) see, with what mode they
    were in and whether gradients were to be had. Each that is made is the same network."""

    seen: list[tuple[str, bool, bool, Tensor]]

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.norm, self.linear = nn.BatchNorm2d(1), nn.Linear(4, 3)
        self.name = "model"
        self.seen = []
        self.copies: list[str] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Witness:
        copied = Witness()
        copied.load_state_dict(self.state_dict())
        copied.train(self.training)
        self.copies.append(f"copy {len(self.copies) + 1}")
        copied.name, copied.seen, copied.copies = self.copies[-1], self.seen, self.copies
        return copied

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((self.name, self.training, torch.is_grad_enabled(), images.clone()))
        logits: Tensor = self.linear(self.norm(images).flatten(1))
        return logits

    def of(self, name: str) -> list[Tensor]:
        """The batches that the one of this name has seen."""
        return [images for who, _, _, images in self.seen if who == name]

    def modes(self, name: str) -> set[tuple[bool, bool]]:
        """Whether it was in training mode and had gradients, in any of its batches."""
        return {(training, gradients) for who, training, gradients, _ in self.seen if who == name}


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
