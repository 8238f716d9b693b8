"""Contact sheets of generated images, to be looked at: a row for each class."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from trainables.artifacts.files import write_whole
from trainables.artifacts.gans import GAN
from trainables.artifacts.inversions import HOLDOUT, MEMBER
from trainables.generators import kegnet
from trainables.workbench import Workbench

COLUMNS = 12
LEAST_PIXELS = 32
"""Smaller images are shown larger, by a whole factor."""


def sheets(
    bench: Workbench, names: list[str], *, real: bool = True
) -> Iterator[tuple[str, Tensor]]:
    """A title and images (classes, 12, c, h, w) for the generators among these artifacts: all GANs
    together, each inverted generator by itself, and `real` images where there are any."""
    labels = torch.arange(bench.num_classes, device=bench.device).repeat_interleave(COLUMNS)
    rng = torch.Generator(bench.device).manual_seed(0)
    rows = (bench.num_classes, COLUMNS, *bench.image_shape)
    if any(name.startswith(GAN) for name in names):
        classes = tuple(range(bench.num_classes))
        yield "gans", bench.gans.draw_each(classes, COLUMNS, rng).images.view(rows)
    for name in names:
        if name.startswith((MEMBER, HOLDOUT)):
            yield name.replace(" ", "-"), _painted(bench, name, labels, rng).view(rows)
    if real and bench.has_data:
        train = bench.dataset.train
        parts = [train.of((label,)).images for label in range(bench.num_classes)]
        # A class with few images leaves the rest of its row black.
        sheet = torch.full(rows, -1.0, device=bench.device)
        for row, part in zip(sheet, parts, strict=True):
            row[: min(COLUMNS, len(part))] = part[:COLUMNS]
        yield "real", sheet


def _painted(bench: Workbench, name: str, labels: Tensor, rng: torch.Generator) -> Tensor:
    """What the inverted generator of this name makes when it is fed `labels` (n,)."""
    noise = torch.randn(len(labels), kegnet.LATENT, generator=rng, device=bench.device)
    with torch.inference_mode():
        images: Tensor = bench.shelf.load(name)(noise, labels)
    return images


def write_sheet(path: Path, images: Tensor) -> None:
    """Write images (rows, columns, c, h, w) as one PNG with thin lines between. Raises OSError.

    Images that leave [-1, 1] are brought into it by their own range.
    """
    from PIL import Image

    low, high = min(-1.0, float(images.min())), max(1.0, float(images.max()))
    pixels = ((images.cpu() - low) / (high - low) * 255).round().to(torch.uint8)
    rows, columns, channels, height, width = pixels.shape
    factor = max(1, LEAST_PIXELS // min(height, width))
    pixels = pixels.repeat_interleave(factor, 3).repeat_interleave(factor, 4)
    height, width = height * factor + 1, width * factor + 1
    sheet = torch.full((channels, rows * height + 1, columns * width + 1), 255, dtype=torch.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * height + 1, column * width + 1
            tile = sheet[:, top : top + height - 1, left : left + width - 1]
            tile.copy_(pixels[row, column])
    array = sheet.permute(1, 2, 0).numpy()
    content = BytesIO()
    Image.fromarray(array if channels == 3 else array[:, :, 0]).save(content, "PNG")
    write_whole(path, content.getvalue())
