"""The course of the search."""

from __future__ import annotations

from search.report.blocks import Plot, Section
from search.report.gathered import Gathered
from search.report.plots import trials as trial_plots


def section(study: Gathered) -> Section | None:
    """Gap by trial number."""
    return Section(
        "course",
        "Search history",
        [Plot("history", trial_plots.history(study.rows), filtered=True)],
    )
