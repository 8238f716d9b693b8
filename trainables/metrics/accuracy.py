"""Accuracy in percent."""

from __future__ import annotations

from torch import Tensor


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Percent of rows of `logits` (n, classes) whose largest entry is at `labels` (n,); n > 0."""
    return float((logits.argmax(dim=1) == labels).double().mean()) * 100
