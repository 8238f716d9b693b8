"""Divergence between the outputs of two models, in nats."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional


def kl_divergence(reference: Tensor, other: Tensor) -> float:
    """Mean over samples of KL(softmax(reference) || softmax(other)), 0 or more.

    Logits (n, classes) each.
    """
    p, q = _log_probabilities(reference), _log_probabilities(other)
    return max(0.0, float((p.exp() * (p - q)).sum(dim=1).mean()))


def js_divergence(first: Tensor, second: Tensor) -> float:
    """Mean over samples of the Jensen-Shannon divergence of softmaxed logits (n, classes).

    Between 0 and ln 2; symmetric.
    """
    p, q = _log_probabilities(first), _log_probabilities(second)
    middle = ((p.exp() + q.exp()) / 2).clamp_min(1e-300).log()
    halves = (p.exp() * (p - middle)).sum(dim=1) + (q.exp() * (q - middle)).sum(dim=1)
    return min(max(0.0, float(halves.mean()) / 2), math.log(2))


def _log_probabilities(logits: Tensor) -> Tensor:
    return functional.log_softmax(logits.double(), dim=1)
