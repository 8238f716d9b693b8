"""What a file of weights (safetensors) says of its model. NumPy only: no torch, no unpickling."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError, InvalidRequest

CHANNELS = {"allcnn": (96, 192), "vgg16": (64, 512), "resnet9": (64, 512)}
"""Of each model's first convolution and of its last one, at width 1."""

FIRST_CONVOLUTION = ("features.0.0.weight", "features.0.weight")

LAYOUTS = "allcnn, vgg16 and resnet9, as `forgetune trial --save` writes them"

FLOATING = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
INTEGER = {"I8": 1, "U8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8}
OTHER = {"BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8}
BYTES = {**FLOATING, **INTEGER, **OTHER}
"""Size of a value by its type, as a safetensors file names it."""

WRAPPERS = {"module.": "DataParallel", "_orig_mod.": "torch.compile"}
"""What names begin with that were saved from a wrapped model."""

MOST_HEADER = 100_000_000
"""Bytes of a header; safetensors reads no longer one."""

MOST_DIMENSIONS, MOST_SHOWN = 16, 80
"""Of a tensor, and letters of its name in a line."""

PICKLED = (b"PK\x03\x04", b"\x80\x02\x8a\n", b"\x80\x04\x95", b"\x80\x05\x95")
"""How files of torch.save begin: a zip archive, or, of old, a pickle."""
TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True)
class Weights:
    """Shapes by tensor name, the text notes of the file, and a fingerprint of its content.

    `types` are those of the values, by tensor name, as the file names them; `faults` says, of
    tensors whose values cannot be weights, why.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    notes: dict[str, str]
    fingerprint: str
    types: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Channels of the images: what the first convolution takes."""
        return self._shape(*FIRST_CONVOLUTION, dimensions=4)[1]

    @property
    def num_classes(self) -> int:
        """Outputs of the linear classifier."""
        return self._shape("classifier.weight", dimensions=2)[0]

    def width(self, model: str) -> float:
        """The factor on the channels of `model`; 1 where it is none of ours.

        Channels are rounded, so several factors give the same model; this is one of them.
        """
        if model not in CHANNELS:
            return 1.0
        found = (
            self._shape(*FIRST_CONVOLUTION, dimensions=4)[0],
            self._shape("classifier.weight", dimensions=2)[1],
        )
        layers = list(zip(found, CHANNELS[model], strict=True))
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
        raise DataError(
            f"{self.path}: has no {' or '.join(names)} of {dimensions} dimensions"
            f"{self.wrapped() or f'; possible layouts: {LAYOUTS}'}"
        )

    def wrapped(self) -> str:
        """What to do about names that a wrapped model gave; empty if there are none."""
        prefix = ""
        while self.shapes and (
            found := [w for w in WRAPPERS if all(n.startswith(prefix + w) for n in self.shapes)]
        ):
            prefix += found[0]
        if not prefix:
            return ""
        by = " and ".join(what for start, what in WRAPPERS.items() if start in prefix)
        return (
            f"; its names begin with {prefix!r} ({by}): take that off, {{name.removeprefix("
            f"{prefix!r}): tensor for name, tensor in load_file(FILE).items()}}, and save_file "
            "that (safetensors.torch)"
        )


def shown(name: str) -> str:
    """The name of a tensor as a line can hold it."""
    return name if name.isprintable() and len(name) <= MOST_SHOWN else repr(name[:MOST_SHOWN])


def inspect(path: Path) -> Weights:
    """Read the header of a safetensors file, look through its values, and fingerprint the whole;
    once while it stays as it is.

    Raises DataError, in one line, for a file that is missing or is no safetensors file.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path}: cannot be read (it is no file)")
        return _inspect(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


@lru_cache(maxsize=4)
def _inspect(path: Path, _changed: int, _size: int) -> Weights:
    content = path.read_bytes()
    try:
        header, values = _parsed(content)
        notes = _notes(header.pop("__metadata__", None))
        _check_tensors(header, len(values))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = " ".join(str(error).split())[:100]
        if content.startswith(PICKLED) or path.suffix.lower() in TORCH_SUFFIXES:
            raise DataError(
                f"{path}: not a safetensors file of weights but one of torch.save, and those are "
                'not unpickled here; convert it: safetensors.torch.save_file(torch.load("'
                f'{path.name}", map_location="cpu", weights_only=True), "{path.stem}.safetensors"'
                "), of the state dict in it if it holds more"
            ) from None
        raise DataError(f"{path}: not a safetensors file of weights ({why})") from None
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    types = {name: entry["dtype"] for name, entry in header.items()}
    faults = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        fault = _fault(name, entry["dtype"], values[begin:end])
        if fault:
            faults[name] = fault
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    return Weights(path, shapes, notes, fingerprint, types, faults)


def _parsed(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header and the bytes after it. Raises ValueError and its like."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(len(content) - 8, MOST_HEADER):
        raise ValueError("the header ends after the file")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name stands twice in the header")
        return dict(pairs)

    text = content[8 : 8 + size].decode()
    if not text.startswith("{"):
        raise ValueError("the header is no table")
    header = json.loads(text, object_pairs_hook=once)
    return header, memoryview(content)[8 + size :]


def _notes(given: Any) -> dict[str, str]:
    notes: dict[str, str] = {} if given is None else {**given}
    "".join([*notes, *notes.values()]).encode()
    return notes


def _check_tensors(header: dict[str, Any], size: int) -> None:
    """Raises ValueError and its like unless the tensors fill the bytes that there are, each its
    own."""
    if not header:
        raise ValueError("there are no tensors")
    end_of_last = 0
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        name.encode()
        begin, end = entry["data_offsets"]
        shape = entry["shape"]
        numbers = [begin, end, *shape]
        if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(f"{shown(name)} has no shape and place of whole numbers")
        if len(shape) > MOST_DIMENSIONS:
            raise ValueError(f"{shown(name)} has {len(shape)} dimensions")
        if entry["dtype"] not in BYTES:
            raise ValueError(f"{shown(name)} is of the unknown type {entry['dtype']!r}")
        if end - begin != math.prod(shape) * BYTES[entry["dtype"]]:
            raise ValueError(f"{shown(name)} has another size than its shape")
        if begin != end_of_last:
            raise ValueError(f"{shown(name)} does not begin where the tensor before it ends")
        end_of_last = end
    if end_of_last != size:
        raise ValueError("the tensors end after the file, or before")


def _fault(name: str, kind: str, content: memoryview) -> str:
    """Why values of this type cannot be weights; empty if they can, or are no floats at all."""
    if kind not in FLOATING or not content:
        return ""
    if kind == "BF16":  # the upper half of a float32
        values = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(content, f"<f{FLOATING[kind]}")
    if not np.isfinite(values).all():
        return "not finite"
    if np.abs(values).max() > np.finfo(np.float32).max:
        return "beyond what float32 holds"
    if name.rpartition(".")[2] == "running_var" and (values < 0).any():
        return "a variance below 0"
    return ""
