"""Accuracy in percent."""

from __future__ import annotations

import torch
from torch import Tensor


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Percent of rows of `logits` (n, classes) whose largest entry is at `labels` (n,); n > 0."""
    return float((logits.argmax(dim=1) == labels).double().mean()) * 100


def class_accuracy(logits: Tensor, labels: Tensor) -> list[float | None]:
    """`accuracy` of the rows of each class, in the order of the columns of `logits`; None for a
    class that has no rows (figures 8-10 of the thesis show it class by class)."""
    classes = logits.shape[1]
    right = labels[logits.argmax(dim=1) == labels]
    counts = torch.bincount(labels, minlength=classes).tolist()
    found = torch.bincount(right, minlength=classes).tolist()
    return [100 * hit / count if count else None for hit, count in zip(found, counts, strict=True)]
