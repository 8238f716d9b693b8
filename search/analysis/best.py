"""Best configurations. Pure functions over rows; selection looks at validation figures only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainables.outcome import State


def complete(table: pa.Table) -> pa.Table:
    """Only the trials that have metrics."""
    return table.filter(pc.equal(table["state"], State.COMPLETE))


def by_gap(table: pa.Table) -> pa.Table:
    """Complete trials by their gap to the retrained model, smallest first.

    Ties go to the lower forget accuracy, then to the shorter unlearning, then to the earlier trial.
    """
    return _ordered(table, [("m_gap", "ascending"), ("m_forget_accuracy", "ascending")])


def by_retain(table: pa.Table, forget_at_most: float) -> pa.Table:
    """Complete trials with a forget accuracy (percent) of at most this, by retain accuracy.

    Ties as in `by_gap`.
    """
    allowed = table.filter(pc.less_equal(table["m_forget_accuracy"], forget_at_most))
    return _ordered(
        allowed, [("m_retain_accuracy", "descending"), ("m_forget_accuracy", "ascending")]
    )


def pareto(table: pa.Table) -> pa.Table:
    """The complete trials that no other beats: forget accuracy down, retain accuracy up.

    By forget accuracy; of trials alike in both, the shortest unlearning stands for all.
    """
    keys = [("m_forget_accuracy", "ascending"), ("m_retain_accuracy", "descending")]
    ordered = _ordered(table, keys)
    retain = ordered["m_retain_accuracy"].to_numpy()
    if len(retain) == 0:
        return ordered
    # In this order a trial is beaten exactly when an earlier one retains at least as much.
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(retain)[:-1]])
    return ordered.filter(pa.array(retain > best_before))


def _ordered(table: pa.Table, keys: Sequence[tuple[str, str]]) -> pa.Table:
    ties = [("unlearn_seconds", "ascending"), ("study", "ascending"), ("number", "ascending")]
    return complete(table).sort_by([*keys, *ties])
