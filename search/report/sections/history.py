"""The course of the search."""

from __future__ import annotations

from search.report.blocks import Plot, Section
from search.report.gathered import Gathered
from search.report.plots import search as search_plots


def section(study: Gathered) -> Section | None:
    """Gap by trial number."""
    return Section(
        "course",
        "Search history",
        [Plot("history", search_plots.history(study.rows), filtered=True)],
    )
