"""An image file as an array. Pillow and NumPy only."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import DataError, one_line

if TYPE_CHECKING:
    from PIL.Image import Image

COMMON = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm")
"""Suffixes that are named where none was found; `suffixes` has all."""

ORIENTATION = 0x0112
"""EXIF's key of how the camera was held."""


@cache
def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of all kinds of images that the installed Pillow can read."""
    from PIL import Image, ImageFile

    Image.init()
    readable = set(COMMON[:5])
    for suffix, kind in Image.registered_extensions().items():
        opener = Image.OPEN.get(kind, (None,))[0]
        stub = isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)
        # PostScript is a program, and a film is no image.
        if opener is not None and not stub and kind not in ("EPS", "MPEG"):
            readable.add(suffix)
    return frozenset(readable)


def pixels(file: Path) -> tuple[np.ndarray, bool]:
    """The pixels of an image, and whether it has further ones, which are not taken."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.format == "EPS":
                raise ValueError("it is PostScript")
            if _deep(image):
                raise ValueError("it has 16 bits; images must have 8 bits a channel")
            image.load()
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"its mode is {image.mode}; images must have 8 bits a channel")
            pixels = np.asarray(_upright(image).convert("L" if image.mode in ("1", "L") else "RGB"))
            # Cameras store a preview behind the picture (MPO), which nobody would miss.
            several = image.format != "MPO" and bool(getattr(image, "is_animated", False))
            return pixels, several
    except Exception as error:  # Pillow raises many kinds
        raise DataError(f"{file}: not a readable image ({one_line(error)})") from None


def _deep(image: Image) -> bool:
    """Whether 16 bits a channel are stored, of which Pillow keeps eight where there are colours."""
    return any(
        re.search(r";16[BLN]", str(args))
        or (codec in ("ppm", "ppm_plain") and isinstance(args, tuple) and args[1] > 255)
        for codec, _, _, args in getattr(image, "tile", ())
    )


def _upright(image: Image) -> Image:
    """The image turned as its EXIF data says; what cannot be read of that says nothing."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)
