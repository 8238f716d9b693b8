"""The average gap to the retrained model, the field's usual yardstick of unlearning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TERMS = ("forget_accuracy", "retain_accuracy", "mia")
"""The field's three. All are of outputs: who switches off one output has a small gap."""

PROBED = (*TERMS, "probe")
"""With what the features still show, which is not to be had that way."""


def gap(
    metrics: Mapping[str, float],
    retrained: Mapping[str, float],
    prefix: str = "",
    terms: Sequence[str] = TERMS,
) -> float:
    """Mean of |metric - retrained's| over `terms`, metrics in percent, in points.

    `prefix` ("" or "test_") chooses the split. 0 for the retrained model itself.
    """
    names = [prefix + term for term in terms]
    return sum(abs(metrics[name] - retrained[name]) for name in names) / len(names)
