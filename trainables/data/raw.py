"""A dataset as it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainables.data.classes import indices_of, labelled
from trainables.errors import InvalidRequest


@dataclass(frozen=True)
class Raw:
    """A dataset as it was read.

    Images are uint8, or floats in [0, 1] or [-1, 1], shaped (n, h, w), (n, h, w, c) or
    (n, c, h, w); labels are integers from 0. `train_paths` are those of the training images below
    train/, where they come from a folder; `notes` are lines, for people, about what was found and
    not read.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    train_paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that follow from every image and label."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width in pixels)."""
        channels, height, width = channels_first(self.x_train[:1]).shape[1:]
        return channels, height, width

    def resolve_classes(self, wanted: Iterable[str | int]) -> tuple[int, ...]:
        """Class indices, sorted: a whole number is an index, a string is a name.

        Raises InvalidRequest for an unknown class, a class without test images, no class at all,
        or all classes at once (nothing would be left to retain).
        """
        found = indices_of(wanted, self.classes, self.name)
        for index in found:
            if not (self.y_test == index).any():
                raise InvalidRequest(
                    f"{labelled([index], self.classes)} of {self.name} has no test images, "
                    "so forgetting it could not be measured"
                )
        return found


def channels_first(images: np.ndarray) -> np.ndarray:
    """Images (n, h, w), (n, h, w, c) or (n, c, h, w) as (n, c, h, w); c is 1 or 3."""
    if images.ndim == 3:
        return images[:, None]
    if images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        return images.transpose(0, 3, 1, 2)
    return images
