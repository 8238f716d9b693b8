"""Every trial in one table, which sorts and filters."""

from __future__ import annotations

from typing import Any

from search.report import trials
from search.report.blocks import Cell, Line, Section, amount, word
from search.report.figures import caption, figure_cells, figure_columns, grouped_table
from search.report.gathered import Gathered
from search.show.tables import hyperparameters


def section(study: Gathered) -> Section:
    """A line for each trial, with what varies among them."""
    groups = figure_columns(study.rows, study.synthetic)
    names = list(trials.varying(study.rows))
    with_reasons = any(row.get("reason") for row in study.rows)
    lines = []
    for row in study.rows:
        found, values = trials.seen(row), hyperparameters(row)
        cells = [Cell(str(row["number"]), row["number"]), word(row["state"])]
        cells += figure_cells(row, groups)
        cells.append(amount(row.get("unlearn_seconds"), 2))
        cells += [_setting(values.get(name)) for name in names]
        cells += [word(row.get("reason") or "")] if with_reasons else []
        data = {"number": row["number"], "state": row["state"]}
        data |= {"forget": found.forget, "gap": found.gap}
        lines.append(Line(cells, {key: v for key, v in data.items() if v is not None}))
    table = grouped_table(
        ["trial", "state"],
        groups,
        ["seconds", *names, *(["reason"] if with_reasons else [])],
        lines,
        id="trials",
        caption=caption(study) + " Click a heading to sort.",
        sortable=True,
    )
    return Section("all-trials", "All trials", [table])


def _setting(value: Any) -> Cell:
    if value is None:
        return Cell("-")
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(trials.short(value), value if numeric else str(value))
