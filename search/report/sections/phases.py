"""The course of unlearning."""

from __future__ import annotations

from search.report.blocks import Plot, Section
from search.report.gathered import Gathered
from search.report.plots import curves as course_plots


def section(study: Gathered) -> Section | None:
    """A line for each trial; none where no courses were recorded."""
    if not course_plots.has_curves(study.rows):
        return None
    best = study.best
    figure = course_plots.phases(study.rows, None if best is None else best["number"])
    return Section(
        "phases", "Over the phases", [Plot("phase-curves", figure, "Each line is one trial.")]
    )
