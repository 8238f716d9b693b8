"""The generator of zero-shot knowledge transfer (Micaelli and Storkey 2019), which GKT plays."""

from __future__ import annotations

import math

from torch import Tensor, nn

LATENT = 128


class Generator(nn.Module):
    """Maps noise (n, 128) to images (n, c, h, w).

    A grid of a quarter of the image is doubled twice; where the image's sides are no multiples of
    four, the margin is cut. The last batch norm, and no tanh, sets the range of the images.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape
        channels, rows, columns = image_shape
        self.grid = (128, math.ceil(rows / 4), math.ceil(columns / 4))
        self.head = nn.Linear(LATENT, math.prod(self.grid))
        self.layers = nn.Sequential(
            nn.BatchNorm2d(128),
            *_doubled(128, 128),
            *_doubled(128, 64),
            nn.Conv2d(64, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, noise: Tensor) -> Tensor:
        images: Tensor = self.layers(self.head(noise).view(-1, *self.grid))
        return images[:, :, : self.image_shape[1], : self.image_shape[2]]


def _doubled(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Upsample(scale_factor=2),
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    )
