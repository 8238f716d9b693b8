"""What a file of weights (safetensors) says of its model, from the header alone. No torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.errors import DataError, InvalidRequest

ALLCNN_CHANNELS = 96
"""Channels of AllCNN's first convolution at width 1; its last has twice as many."""

FIRST_CONVOLUTION = ("features.0.0.weight", "features.0.weight")


@dataclass(frozen=True)
class Weights:
    """Shapes by tensor name, the text notes of the file, and a fingerprint of its content."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    notes: dict[str, str]
    fingerprint: str

    @property
    def channels(self) -> int:
        """Channels of the images: what the first convolution takes."""
        return self._shape(*FIRST_CONVOLUTION, dimensions=4)[1]

    @property
    def num_classes(self) -> int:
        """Outputs of the linear classifier."""
        return self._shape("classifier.weight", dimensions=2)[0]

    def width(self, model: str) -> float:
        """The factor on the channels of `model` (AllCNN; 1 for all others).

        Channels are rounded, so several factors give the same model; this is one of them.
        """
        if model != "allcnn":
            return 1.0
        layers = (
            (self._shape(*FIRST_CONVOLUTION, dimensions=4)[0], ALLCNN_CHANNELS),
            (self._shape("classifier.weight", dimensions=2)[1], 2 * ALLCNN_CHANNELS),
        )
        low = max((found - 0.5) / channels for found, channels in layers)
        high = min((found + 0.5) / channels for found, channels in layers)
        return (low + high) / 2

    def image_size(self, given: tuple[int, int] | None) -> tuple[int, int]:
        """Height and width in pixels: what was given, or what the file notes.

        Raises InvalidRequest if neither says it: weights of convolutions fit many sizes.
        """
        if given is not None:
            return given
        try:
            rows, columns = json.loads(self.notes["image_size"])
            return int(rows), int(columns)
        except (KeyError, ValueError, TypeError):
            raise InvalidRequest(
                f"{self.path}: does not say the size of its model's images; give it "
                "(--image-size 32, or 28x32)"
            ) from None

    def _shape(self, *names: str, dimensions: int) -> tuple[int, ...]:
        for name in names:
            if len(self.shapes.get(name, ())) == dimensions:
                return self.shapes[name]
        raise DataError(f"{self.path}: has no {names[0]}; it holds no model of ours")


def inspect(path: Path) -> Weights:
    """Read the header of a safetensors file, and fingerprint the whole; once while it stays as it
    is.

    Raises DataError, in one line, for a file that is missing or is no safetensors file.
    """
    try:
        found = path.stat()
        return _inspect(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


@lru_cache(maxsize=4)
def _inspect(path: Path, _changed: int, _size: int) -> Weights:
    content = path.read_bytes()
    try:
        size = int.from_bytes(content[:8], "little")
        if size > len(content):
            raise ValueError("the header ends after the file")
        header: dict[str, Any] = json.loads(content[8 : 8 + size])
        notes = header.pop("__metadata__", {})
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
        if 8 + size + max(entry["data_offsets"][1] for entry in header.values()) != len(content):
            raise ValueError("the tensors end after the file, or before")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path}: not a safetensors file of weights") from None
    return Weights(path, shapes, notes, hashlib.sha256(content).hexdigest()[:16])
