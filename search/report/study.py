"""A study's page as sections.

Configurations are chosen by what steered the study; test figures are shown and choose nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from search.report.blocks import Section
from search.report.gathered import Gathered
from search.report.sections import (
    agreement,
    all_trials,
    best,
    by_class,
    front,
    history,
    hyperparameters,
    overview,
    phases,
    previews,
    repeats,
    reproduction,
    states,
    times,
    training,
)

SECTIONS: tuple[Callable[[Gathered], Section | None], ...] = (
    overview.section,
    front.section,
    best.section,
    history.section,
    hyperparameters.section,
    by_class.section,
    repeats.section,
    phases.section,
    agreement.section,
    training.section,
    states.section,
    times.section,
    previews.section,
    all_trials.section,
    reproduction.section,
)


def sections(study: Gathered) -> list[Section]:
    """All sections that have something to show, in their order."""
    made = [make(study) for make in SECTIONS]
    return [section for section in made if section is not None and section.blocks]
