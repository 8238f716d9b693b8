"""What is forgotten against what is retained."""

from __future__ import annotations

from search.analysis.best import pareto
from search.report.blocks import Plot, Section
from search.report.gathered import Gathered
from search.report.plots import search as search_plots
from trainables.outcome import State


def section(study: Gathered) -> Section | None:
    """Forget against retain accuracy of all trials; none where none completed."""
    if not study.status.states.get(State.COMPLETE):
        return None
    figure = search_plots.pareto(study.rows, pareto(study.table).to_pylist(), study.references)
    caption = (
        "Ringed trials are beaten by no other. Stars: the original model, the one retrained "
        "without the forget set and, where it was measured, the control, which only switches an "
        "output off. The colours end at the 90th percentile of the gap."
    )
    return Section("front", "Pareto front", [Plot("pareto", figure, caption, filtered=True)])
