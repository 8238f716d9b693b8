"""Best configurations. Pure functions over rows.

Selection looks at what steered the study and at nothing else: validation figures, or, where the
objective was synthetic, the synthetic ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainables.outcome import State

FIGURES = ("forget_accuracy", "retain_accuracy", "gap")

GAPS = {"gap": "gap", "probe_gap": "gap with probe"}
"""The gaps to the retrained model and what people call them: over accuracies and MIA, and over
these and what a probe still finds in the features."""


class Figures(NamedTuple):
    """What a trial is chosen by: accuracies in percent, the gap in points."""

    forget: float
    retain: float
    gap: float


def figures(row: Mapping[str, Any]) -> Figures:
    """The figures of a complete trial that steered its study."""
    prefix = "m_synthetic_" if row.get("objective") == "synthetic" else "m_"
    gap = "probe_gap" if probed(row) else "gap"
    return Figures(*(row[prefix + name] for name in (*FIGURES[:2], gap)))


def probed(row: Mapping[str, Any]) -> bool:
    """Whether the gap of the trial's study is that with the probe; rows of an earlier version,
    which do not say it, have the usual one."""
    return row.get("objective") != "synthetic" and "probe" in (row.get("gap_terms") or "")


def tells_nothing(heading: str, control: float, name: str, least: float) -> str:
    """That the control has a smaller gap (points) than the best, called `name`."""
    return (
        f"By {heading} the control, which switches an output off and forgets nothing, is better "
        f"({control:.1f} points) than the best, {name} ({least:.1f}): that figure cannot tell "
        f"{name} from it."
    )


def remarks(table: pa.Table, control: Mapping[str, float]) -> list[str]:
    """Where the two gaps disagree about the best trial, and where the control, with these metrics,
    is better than it. Nothing of studies that synthetic images steered."""
    found = []
    real = table.filter(pc.fill_null(pc.not_equal(table["objective"], "synthetic"), True))
    winners: dict[str, tuple[str, int]] = {}
    for name, heading in GAPS.items():
        best = by_gap(real.filter(pc.is_valid(real[f"m_{name}"])), 1, name).to_pylist()
        for row in best:
            winners[heading] = row["study"], row["number"]
            own = control.get(name)
            if own is not None and own < row[f"m_{name}"]:
                told = f"trial {row['number']} of {row['study']}"
                found.append(tells_nothing(heading, own, told, row[f"m_{name}"]))
    if len(set(winners.values())) > 1:
        told = ", ".join(f"trial {n} of {study} by {gap}" for gap, (study, n) in winners.items())
        found.insert(0, f"The gaps disagree about the best trial: {told}.")
    return found


def complete(table: pa.Table) -> pa.Table:
    """Only the trials that have metrics."""
    return table.filter(pc.equal(table["state"], State.COMPLETE))


def lowest_forget(table: pa.Table) -> float | None:
    """The lowest forget accuracy (percent) of a complete trial; None if there is none."""
    lowest: float | None = pc.min(_steered(table)["_forget_accuracy"]).as_py()
    return lowest


def why_none(table: pa.Table) -> str:
    """One line on a table without complete trials: how many ended how, and why the first did."""
    if table.num_rows == 0:
        return "no trial has settled yet"
    states = table["state"].to_pylist()
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted({*states}))
    first = next((reason for reason in table["reason"].to_pylist() if reason), "nothing")
    return f"no trial completed ({counts}); the first said: {first}"


def by_gap(table: pa.Table, top: int | None = None, gap: str | None = None) -> pa.Table:
    """Complete trials by their gap to the retrained model, smallest first: by that which steered
    their studies, or by the `gap` of GAPS; where the objective was synthetic, by their distance to
    the ideal. All, or the first `top`.

    Ties go to the lower forget accuracy, then to the smaller divergence on synthetic images, then
    to the shorter unlearning, then to the earlier trial.
    """
    keys = [("_gap", "ascending"), ("_forget_accuracy", "ascending")]
    return _ordered(_steered(table, gap), keys, top)


def by_retain(table: pa.Table, forget_at_most: float, top: int | None = None) -> pa.Table:
    """Complete trials with a forget accuracy (percent) of at most this, by retain accuracy. All, or
    the first `top`.

    Ties as in `by_gap`.
    """
    steered = _steered(table)
    allowed = steered.filter(pc.less_equal(steered["_forget_accuracy"], forget_at_most))
    keys = [("_retain_accuracy", "descending"), ("_forget_accuracy", "ascending")]
    return _ordered(allowed, keys, top)


def pareto(table: pa.Table) -> pa.Table:
    """The complete trials that no other beats: forget accuracy down, retain accuracy up.

    By forget accuracy; of trials alike in both, the first of `by_gap`'s ties stands for all.
    """
    keys = [("_forget_accuracy", "ascending"), ("_retain_accuracy", "descending")]
    ordered = _sorted(_steered(table), keys)
    retain = ordered["_retain_accuracy"].to_numpy()
    # In this order a trial is beaten exactly when an earlier one retains at least as much.
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(retain)])[: len(retain)]
    return _without_keys(ordered.filter(pa.array(retain > best_before)))


def _steered(table: pa.Table, gap: str | None = None) -> pa.Table:
    """The complete trials, with what steered their studies, or this gap, in columns of one name."""
    found = complete(table)
    synthetic = pc.fill_null(pc.equal(found["objective"], "synthetic"), False)
    with_probe = pc.fill_null(pc.match_substring(found["gap_terms"], "probe"), False)
    real = {name: found[f"m_{name}"] for name in FIGURES}
    real["gap"] = pc.if_else(with_probe, found["m_probe_gap"], real["gap"])
    if gap is not None:
        real["gap"] = found[f"m_{gap}"]
    for name in FIGURES:
        values = pc.if_else(synthetic, found[f"m_synthetic_{name}"], real[name])
        found = found.append_column(f"_{name}", values)
    return found


def _ordered(
    steered: pa.Table, keys: Sequence[tuple[str, str]], top: int | None = None
) -> pa.Table:
    if top is not None and top < steered.num_rows:
        # Of a million rows only those need sorting that can be among the first.
        name, order = keys[0]
        sign = 1 if order == "ascending" else -1
        first = sign * steered[name].to_numpy()
        steered = steered.filter(pa.array(first <= np.partition(first, top - 1)[top - 1]))
    return _without_keys(_sorted(steered, keys)).slice(0, top)


def _sorted(steered: pa.Table, keys: Sequence[tuple[str, str]]) -> pa.Table:
    ties = ["m_synthetic_retain_kl", "unlearn_seconds", "study", "number"]
    return steered.sort_by([*keys, *((name, "ascending") for name in ties)])


def _without_keys(steered: pa.Table) -> pa.Table:
    return steered.drop_columns([f"_{name}" for name in FIGURES])
