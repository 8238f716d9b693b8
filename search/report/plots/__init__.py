"""Plots as pure functions from rows and findings to Plotly figures.

`points`: what plots of trials have in common; `search`, `hyperparameters`, `times`: those of a
study's trials; `sweeps`, `classes`, `repeats`: of designed runs; `curves`: of courses; `studies`:
of several studies. Every axis says its unit.
"""

from search.report.plots.classes import class_map
from search.report.plots.sweeps import sensitivity_plot
from search.report.style import write_figure

__all__ = ["class_map", "sensitivity_plot", "write_figure"]
