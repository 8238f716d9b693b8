"""Entropy of a classifier's outputs."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats (n,) of softmax(`logits`), logits (n, classes); from 0 to ln classes."""
    log_probabilities = functional.log_softmax(logits.double(), dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)
