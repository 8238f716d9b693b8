"""Writing files whole."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from trainables.errors import InvalidRequest

WEIGHTS = ".safetensors"


def check_weights_name(path: Path) -> None:
    """Raises InvalidRequest for a name that says that weights are written in another format."""
    if path.suffix != WEIGHTS:
        raise InvalidRequest(
            f"{path}: weights are written as safetensors; give a name that ends in {WEIGHTS}"
        )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; a device or a pipe is written to.

    Raises OSError.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    # The name is no part of it: that may be as long as names can be.
    temporary = path.with_name(f".{uuid.uuid4().hex[:16]}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
