"""The average gap to the retrained model, the field's usual yardstick of unlearning."""

from __future__ import annotations

from collections.abc import Mapping

TERMS = ("forget_accuracy", "retain_accuracy", "mia")


def gap(metrics: Mapping[str, float], retrained: Mapping[str, float], prefix: str = "") -> float:
    """Mean of |metric - retrained's| over forget accuracy, retain accuracy and MIA, in points.

    `prefix` ("" or "test_") chooses the split. 0 for the retrained model itself.
    """
    names = [prefix + term for term in TERMS]
    return sum(abs(metrics[name] - retrained[name]) for name in names) / len(names)
