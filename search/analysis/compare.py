"""Tables 3-6 of the thesis from repeated trials. Pure functions over rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.analysis.best import GAPS, figures, tells_nothing
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
    Column("probe", _metric("test_probe"), _nearest),
    *(Column(heading, _metric(f"test_{name}"), _smallest) for name, heading in GAPS.items()),
    Column("relearning", _metric("relearn_steps"), _nearest),
    Column("AIN", _metric("anamnesis_index"), lambda value, _: abs(value - 1), 2),
    Column("seconds", lambda row: row.get("unlearn_seconds"), _smallest, 2),
    Column("with preparation", _with_preparation, _smallest),
)
"""Accuracies, MIA and probe in percent on test images, which chose nothing; gaps in points;
relearning in steps."""

CONTROL = "control: an output switched off"
"""What stands beside the line of the method that forgets nothing."""


YARDSTICKS = ("original", "retrain")
"""Methods that are only there to compare with, though they can be asked for like others."""


@dataclass(frozen=True)
class Entry:
    """One line: a method's best configuration and its repeats, or why there are none; a model that
    methods are compared with (`reference`), or the method that forgets nothing (`control`)."""

    name: str
    repeats: Sequence[Row] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    reference: bool = False
    control: bool = False

    @property
    def competes(self) -> bool:
        """Whether it can be the best: what is only there to compare with cannot."""
        return not self.reference and not self.control and self.name not in YARDSTICKS


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
        if item.mean is not None and entry.competes
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


def sheet(entries: Sequence[Entry], remark: str = "") -> Sheet:
    """The comparison as a table: a line for each entry, with the reason where there is one, and a
    `remark` on all of it."""
    lines = [
        Line(
            [entry.name],
            line,
            len(entry.repeats),
            entry.reason or (CONTROL if entry.control else ""),
        )
        for entry, line in zip(entries, cells(entries), strict=True)
    ]
    headings = [column.heading for column in COLUMNS]
    said = [*remarks(entries), *([remark] if remark else [])]
    return Sheet(["method"], headings, lines, remarks=said)


def remarks(entries: Sequence[Entry]) -> list[str]:
    """Where the gaps disagree about the best method, where the control is better than it, and where
    relearning is only a bound."""
    found = []
    winners: dict[str, str] = {}
    for column in COLUMNS:
        if column.heading not in GAPS.values():
            continue
        means = [(_cell(column, entry).mean, entry) for entry in entries]
        known = [(mean, entry) for mean, entry in means if mean is not None]
        competing = [pair for pair in known if pair[1].competes]
        if not competing:
            continue
        least, winner = min(competing, key=lambda pair: pair[0])
        winners[column.heading] = winner.name
        control = next((mean for mean, entry in known if entry.control), None)
        if control is not None and control < least:
            found.append(tells_nothing(column.heading, control, winner.name, least))
    if len(set(winners.values())) > 1:
        told = ", ".join(f"{name} by {heading}" for heading, name in winners.items())
        found.insert(0, f"The gaps disagree about the best method: {told}.")
    capped = [entry.name for entry in entries if any(map(_metric("relearn_capped"), entry.repeats))]
    if capped:
        found.append(
            f"Relearning was given up at the cap, of the model or of the retrained one, for "
            f"{', '.join(capped)}: their steps or AIN are bounds."
        )
    return found
