"""Datasets as tensors: the three splits, and batches as index draws.

Images are float32 in [-1, 1], shaped (n, channels, height, width); labels are int64. A dataset
lives on the device of the trials, so that a batch is one index draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainables.data.raw import channels_first
from trainables.data.sources import read
from trainables.data.splits import HeldOut, for_validation


@dataclass(frozen=True)
class Samples:
    """Images (n, c, h, w), float32 in [-1, 1], with their labels (n,), int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, classes: Iterable[int]) -> Samples:
        """Only the samples of these classes."""
        wanted = torch.tensor(list(classes), device=self.labels.device)
        return self.where(torch.isin(self.labels, wanted))

    def without(self, classes: Iterable[int]) -> Samples:
        """All samples but those of these classes."""
        unwanted = torch.tensor(list(classes), device=self.labels.device)
        return self.where(~torch.isin(self.labels, unwanted))

    def where(self, index: Tensor | slice) -> Samples:
        """The samples at these positions, or where this mask is true."""
        return Samples(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> Samples:
        return Samples(self.images.to(device), self.labels.to(device))

    def batches(self, size: int, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One shuffled pass, in the batches of `index_batches`."""
        for part in index_batches(len(self), size, rng, self.labels.device):
            yield self.images[part], self.labels[part]


def index_batches(
    count: int, size: int, rng: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """Indices of one shuffled pass over `count` samples, `size` at a time. A last batch of a single
    sample joins the one before it, because batch norm cannot be trained on one value per channel.
    """
    order = torch.randperm(count, generator=rng, device=rng.device)
    parts = list(order.to(device).split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits. The search sees `validation`; `test` never steers anything."""

    name: str
    classes: tuple[str, ...]
    train: Samples
    validation: Samples
    test: Samples
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width in pixels)."""
        channels, height, width = self.train.images.shape[1:]
        return int(channels), int(height), int(width)

    def to(self, device: torch.device) -> Dataset:
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )


@lru_cache(maxsize=1)
def load(
    name: str,
    root: Path,
    validation_fraction: float,
    validation_source: str = "training",
    held_out: HeldOut | None = None,
) -> Dataset:
    """Read a dataset onto the CPU, with its validation split (`trainables.data.splits`).

    Raises InvalidRequest or DataError, each in one line.
    """
    raw = read(name, root)
    chosen = for_validation(raw, validation_fraction, validation_source, held_out)
    from_train, from_test = map(torch.from_numpy, chosen)
    floats = [images for images in (raw.x_train, raw.x_test) if images.dtype != np.uint8]
    signed = any(images.min() < 0 for images in floats)
    train = _samples(raw.x_train, raw.y_train, signed)
    test = _samples(raw.x_test, raw.y_test, signed)
    return Dataset(
        name=name,
        classes=raw.classes,
        train=train.where(~from_train),
        validation=train.where(from_train) if from_train.any() else test.where(from_test),
        test=test.where(~from_test),
        fingerprint=raw.fingerprint,
    )


def _samples(images: np.ndarray, labels: np.ndarray, signed: bool) -> Samples:
    values = torch.from_numpy(np.ascontiguousarray(channels_first(images), dtype=np.float32))
    if images.dtype == np.uint8:
        values = values / 127.5 - 1
    elif not signed:
        values = values * 2 - 1
    return Samples(values.contiguous(), torch.from_numpy(labels.astype(np.int64)))
