"""How the models learnt that the study is judged by."""

from __future__ import annotations

from search.report.blocks import Plot, Section
from search.report.gathered import Gathered
from search.report.plots import curves as course_plots


def section(study: Gathered) -> Section | None:
    """Curves of the original and the retrained model; none where they were not recorded."""
    if not study.training_curves:
        return None
    caption = (
        "The retrained model never saw the forget classes, which count in this accuracy: it stays "
        "below the original."
    )
    figure = course_plots.training(study.training_curves)
    return Section("training", "Training of the models", [Plot("training-curves", figure, caption)])
