"""Zero retrain forgetting (Chundawat et al. 2023, "Can Bad Teaching Induce Forgetting?")."""

from __future__ import annotations

from torch import Tensor

from trainables.metrics.divergence import js_divergence


def zrf(logits: Tensor, random_logits: Tensor) -> float:
    """1 - mean JS divergence (nats) to a randomly initialised network, on the forget set.

    Logits (n, classes) each. Near 1: the model answers on D_f as one that never learned;
    at least 1 - ln 2.

    Published values cannot be compared with it: the authors' code swaps the arguments of both
    divergences and divides by the number of classes too, so that a model that has forgotten nothing
    has 0.877 there and 0.479 here (digits, AllCNN).
    """
    return 1 - js_divergence(logits, random_logits)
