"""Whether synthetic images rank the trials as real ones do."""

from __future__ import annotations

from search.analysis.agreement import agreement
from search.report.blocks import Plot, Section
from search.report.gathered import Gathered
from search.report.plots import search as search_plots


def section(study: Gathered) -> Section | None:
    """Synthetic against real validation; none where they were not both measured."""
    both = [
        row
        for row in study.rows
        if row.get("m_gap") is not None and row.get("m_synthetic_gap") is not None
    ]
    if not both:
        return None
    figure = search_plots.agreement(study.rows, agreement(study.table))
    caption = (
        "Kendall's tau says how alike both rank the trials: 1 the same order, 0 none in common, "
        "-1 the reverse. Without it there were fewer than three trials, or all alike."
    )
    return Section(
        "agreement",
        "Synthetic and real validation",
        [Plot("agreeing", figure, caption, filtered=True)],
    )
