"""Plots as pure functions from rows and findings to Plotly figures.

`trials`: those of a study's trials; `designs`: of sweeps, maps over classes and repeats; `curves`:
of courses; `studies`: of several studies. Every axis says its unit.
"""

from search.report.plots.designs import class_map, sensitivity_plot
from search.report.style import write_figure

__all__ = ["class_map", "sensitivity_plot", "write_figure"]
