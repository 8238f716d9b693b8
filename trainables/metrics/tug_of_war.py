"""Tug-of-war, which pulls down who loses anywhere (Zhao et al. 2024, "What makes unlearning hard
and what to do about it", arXiv 2406.01257)."""

from __future__ import annotations

import math
from collections.abc import Mapping


def tug_of_war(
    metrics: Mapping[str, float], retrained: Mapping[str, float], prefix: str = ""
) -> float:
    """Product of 1 - |accuracy - retrained's| over D_f, D_r (samples of it) and held-out images of
    all classes; 0 to 1, 1 for the retrained model itself.

    Metrics are in percent; `prefix` ("" or "test_") chooses the held-out images.
    """
    names = ("train_forget_accuracy", "train_retain_accuracy", f"{prefix}accuracy")
    return math.prod(1 - abs(metrics[name] - retrained[name]) / 100 for name in names)
