"""Names of studies that follow from others'."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def mark(*parts: Any) -> str:
    """Eight hexadecimal digits that follow from plain values: they set names apart."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def cut(name: str, most: int) -> str:
    """The name, or as much of it as makes `most` characters with a mark that sets it apart from
    others that begin alike."""
    return name if len(name) <= most else f"{name[: most - 9]}-{mark(name)}"
