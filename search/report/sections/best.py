"""The best configurations, by what steered the study."""

from __future__ import annotations

from search.analysis.best import by_gap
from search.report import trials
from search.report.blocks import Cell, Line, Section, amount, word
from search.report.figures import (
    as_row,
    caption,
    figure_cells,
    figure_columns,
    grouped_table,
    reference_lines,
)
from search.report.gathered import Gathered

TOP = 10
"""Configurations in the table of the best."""


def section(study: Gathered) -> Section | None:
    """The first of `by_gap` as a table; none where no trial completed."""
    rows = by_gap(study.table).slice(0, TOP).to_pylist()
    if not rows:
        return None
    references = [as_row(metrics) for metrics in study.references.values()]
    groups = figure_columns([*rows, *references], study.synthetic)
    lines = [
        Line(
            [
                Cell(str(row["number"]), row["number"], rank == 0),
                *figure_cells(row, groups),
                amount(row.get("unlearn_seconds"), 2),
                word(trials.settings(row)),
            ]
        )
        for rank, row in enumerate(rows)
    ]
    lines += reference_lines(study, groups, 1, 2)
    table = grouped_table(
        ["trial"], groups, ["seconds", "hyperparameters"], lines, caption=caption(study)
    )
    return Section("best", "Best configurations", [table])
