"""Sensitivity curves from designed sweeps (tables 7-14 of the thesis). Pure functions over rows.

A sweep runs each point of a design equally often, whatever comes of it. Trials of an optimiser are
no such thing: they crowd where it hoped for the best.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from search.analysis.sheets import Cell, Line, Sheet, cell
from trainables.outcome import State

Row = Mapping[str, Any]

SPLITS = {"test": "test_", "validation": "", "synthetic": "synthetic_"}
"""What a sweep can be looked at on, and how the metrics of that are called."""

FIGURES = {"D_f acc": "forget_accuracy", "D_r acc": "retain_accuracy", "MIA": "mia", "gap": "gap"}
"""Columns of the thesis' tables, and the gap to the retrained model; percent and points."""


@dataclass(frozen=True)
class Point:
    """The repeats of one point of a design; `values` are of the hyperparameters that vary."""

    values: tuple[Any, ...]
    rows: Sequence[Row]

    def cell(self, metric: str) -> Cell:
        """Mean and deviation of a metric over the repeats that ended well."""
        found = [row.get(f"m_{metric}") for row in self.rows if row["state"] == State.COMPLETE]
        return cell([value for value in found if value is not None])

    @property
    def failures(self) -> str:
        """How the other repeats ended: "1 diverged, 2 oom"; empty if there are none."""
        states = Counter(row["state"] for row in self.rows if row["state"] != State.COMPLETE)
        return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def points(table: pa.Table, names: Sequence[str]) -> list[Point]:
    """The points of a design, in the order of their values, with the rows of each.

    `names` are the hyperparameters that vary.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in table.to_pylist():
        given = json.loads(row["params_json"])
        found.setdefault(tuple(given[name] for name in names), []).append(row)
    return [Point(values, found[values]) for values in sorted(found, key=_order)]


def _order(values: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    """Numbers by size, before words by alphabet."""
    return [(isinstance(value, str), value) for value in values]


def sheet(found: Sequence[Point], names: Sequence[str], split: str = "test") -> Sheet:
    """A line for each point: mean and deviation of accuracies (percent), MIA (percent) and gap
    (points) on a split of `SPLITS`."""
    figures = {
        heading: SPLITS[split] + name
        for heading, name in FIGURES.items()
        if not (split == "synthetic" and name == "mia")
    }
    lines = [
        Line(
            [plain(value) for value in point.values],
            [point.cell(metric) for metric in figures.values()],
            len(point.rows),
            point.failures,
        )
        for point in found
    ]
    return Sheet(list(names), list(figures), lines)


def plain(value: Any) -> str:
    """A value of a hyperparameter as people write it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
