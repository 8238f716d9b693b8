"""Tables 3-6 of the thesis from repeated trials. Pure functions over rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.analysis.best import figures
from search.analysis.sheets import Cell, Line, Sheet, cell
from trainables.outcome import State

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of the comparison: its heading, where its values come from, and how far one is from
    the best possible, given the retrained model's (smaller is better)."""

    heading: str
    value: Callable[[Row], float | None]
    distance: Callable[[float, float | None], float]
    digits: int = 1


def _metric(name: str) -> Callable[[Row], float | None]:
    return lambda row: row.get(f"m_{name}")


def _with_preparation(row: Row) -> float | None:
    unlearn, prepare = row.get("unlearn_seconds"), row.get("prepare_seconds")
    return None if unlearn is None else unlearn + (prepare or 0.0)


def _smallest(value: float, _: float | None) -> float:
    return value


def _nearest(value: float, retrained: float | None) -> float:
    return abs(value - (retrained or 0.0))


COLUMNS = (
    Column("D_f acc", _metric("test_forget_accuracy"), _smallest),
    Column("D_r acc", _metric("test_retain_accuracy"), lambda value, _: -value),
    Column("MIA", _metric("test_mia"), _nearest),
    Column("gap", _metric("test_gap"), _smallest),
    Column("AIN", _metric("anamnesis_index"), lambda value, _: abs(value - 1), 2),
    Column("seconds", lambda row: row.get("unlearn_seconds"), _smallest, 2),
    Column("with preparation", _with_preparation, _smallest),
)
"""Accuracies and MIA in percent on test images, which chose nothing; gap in points."""


@dataclass(frozen=True)
class Entry:
    """One line: a method's best configuration and its repeats, or why there are none."""

    name: str
    repeats: Sequence[Row] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    reference: bool = False


def mean_gap(repeats: Sequence[Row]) -> float | None:
    """The mean of the figure that steered the search, over complete repeats; None if any failed."""
    if not repeats or any(row["state"] != State.COMPLETE for row in repeats):
        return None
    return statistics.fmean(figures(row).gap for row in repeats)


def choose(candidates: Sequence[Entry]) -> Entry:
    """The candidate whose repeats have the smallest mean gap; the first if none is complete."""
    judged = [(gap, entry) for entry in candidates if (gap := mean_gap(entry.repeats)) is not None]
    return min(judged, key=lambda pair: pair[0])[1] if judged else candidates[0]


def cells(entries: Sequence[Entry]) -> list[list[Cell]]:
    """A line of cells for each entry; in each column the best method's is marked."""
    columns = [_column(column, entries) for column in COLUMNS]
    return [list(line) for line in zip(*columns, strict=True)]


def _column(column: Column, entries: Sequence[Entry]) -> list[Cell]:
    found = [_cell(column, entry) for entry in entries]
    retrained = next((c.mean for c, e in zip(found, entries, strict=True) if e.name == "retrained"),
                     None)  # fmt: skip
    distances = {
        index: column.distance(item.mean, retrained)
        for index, (item, entry) in enumerate(zip(found, entries, strict=True))
        if item.mean is not None and not entry.reference
    }
    least = min(distances.values(), default=None)
    return [
        replace(item, best=index in distances and distances[index] == least)
        for index, item in enumerate(found)
    ]


def _cell(column: Column, entry: Entry) -> Cell:
    complete = [row for row in entry.repeats if row["state"] == State.COMPLETE]
    values = [value for row in complete if (value := column.value(row)) is not None]
    return cell(values, column.digits)


def sheet(entries: Sequence[Entry]) -> Sheet:
    """The comparison as a table: a line for each entry, with the reason where there is one."""
    lines = [
        Line([entry.name], line, len(entry.repeats), entry.reason or "")
        for entry, line in zip(entries, cells(entries), strict=True)
    ]
    return Sheet(["method"], [column.heading for column in COLUMNS], lines)
