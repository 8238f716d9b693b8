"""The average gap to the retrained model, the field's usual yardstick of unlearning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainables.metrics.tug_of_war import tug_of_war

TERMS = ("forget_accuracy", "retain_accuracy", "mia")
"""The field's three. All are of outputs: who switches off one output has a small gap."""

PROBED = (*TERMS, "probe")
"""With what the features still show, which is not to be had that way."""


def distances(metrics: Mapping[str, float], retrained: Mapping[str, float]) -> dict[str, float]:
    """The gap over each set of terms and the probe's distance alone (points), and tug-of-war, on
    each split that is measured in `metrics`. Models without features have nothing of a probe."""
    kinds = {"gap": TERMS, "probe_distance": ("probe",), "probe_gap": PROBED}
    found = {}
    for prefix in ("", "test_"):
        if f"{prefix}accuracy" not in metrics:
            continue
        found[f"{prefix}tow"] = tug_of_war(metrics, retrained, prefix)
        for name, terms in kinds.items():
            if all(prefix + term in given for term in terms for given in (metrics, retrained)):
                found[prefix + name] = gap(metrics, retrained, prefix, terms)
    return found


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
