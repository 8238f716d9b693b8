"""Tables 3-6 of the thesis from repeated trials. Pure functions over rows."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.analysis.best import figures
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


@dataclass(frozen=True)
class Cell:
    """Mean and standard deviation (over n - 1) of a column; `best` among the methods."""

    mean: float | None = None
    spread: float | None = None
    digits: int = 1
    best: bool = False

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        spread = "" if self.spread is None else f" ± {self.spread:.{self.digits}f}"
        return f"{self.mean:.{self.digits}f}{spread}"


def cells(entries: Sequence[Entry]) -> list[list[Cell]]:
    """A line of cells for each entry; in each column the best method's is marked."""
    columns = [_column(column, entries) for column in COLUMNS]
    return [list(line) for line in zip(*columns, strict=True)]


def _column(column: Column, entries: Sequence[Entry]) -> list[Cell]:
    found = [_cell(column, entry) for entry in entries]
    retrained = next((c.mean for c, e in zip(found, entries, strict=True) if e.name == "retrained"),
                     None)  # fmt: skip
    distances = {
        index: column.distance(cell.mean, retrained)
        for index, (cell, entry) in enumerate(zip(found, entries, strict=True))
        if cell.mean is not None and not entry.reference
    }
    least = min(distances.values(), default=None)
    return [
        Cell(cell.mean, cell.spread, cell.digits, best=distances.get(index) == least is not None)
        if index in distances
        else cell
        for index, cell in enumerate(found)
    ]


def _cell(column: Column, entry: Entry) -> Cell:
    complete = [row for row in entry.repeats if row["state"] == State.COMPLETE]
    values = [value for row in complete if (value := column.value(row)) is not None]
    if not values:
        return Cell(digits=column.digits)
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.fmean(values), spread, column.digits)


def as_markdown(entries: Sequence[Entry]) -> str:
    """A Markdown table; best values in bold."""
    lines = [["method", *(column.heading for column in COLUMNS)], ["---"] * (len(COLUMNS) + 1)]
    for entry, line in zip(entries, cells(entries), strict=True):
        marked = [f"**{cell}**" if cell.best else str(cell) for cell in line]
        lines.append([_label(entry), *marked])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_latex(entries: Sequence[Entry]) -> str:
    """A LaTeX tabular (booktabs); best values in bold."""
    head = " & ".join(["method", *(column.heading.replace("_", r"\_") for column in COLUMNS)])
    body = []
    for entry, line in zip(entries, cells(entries), strict=True):
        texts = [str(cell).replace("±", r"$\pm$") for cell in line]
        marked = [
            rf"\textbf{{{text}}}" if cell.best else text
            for text, cell in zip(texts, line, strict=True)
        ]
        body.append(" & ".join([_label(entry).replace("_", r"\_"), *marked]) + r" \\")
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * len(COLUMNS)}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def as_csv(entries: Sequence[Entry]) -> str:
    """Means and standard deviations in columns of their own, unrounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    headings = [f"{c.heading} {kind}" for c in COLUMNS for kind in ("mean", "std")]
    writer.writerow(["method", "repeats", *headings, "reason"])
    for entry, line in zip(entries, cells(entries), strict=True):
        values = [value for cell in line for value in (cell.mean, cell.spread)]
        writer.writerow([entry.name, len(entry.repeats), *values, entry.reason or ""])
    return out.getvalue()


def _label(entry: Entry) -> str:
    return entry.name if entry.reason is None else f"{entry.name} ({entry.reason})"
