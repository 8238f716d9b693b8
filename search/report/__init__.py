"""Reports: one self-contained HTML page for a study or for several, and single plots.

Only this package imports Plotly and Jinja2.
"""

from search.report.page import comparison_page, study_page
from search.report.plots import class_map, sensitivity_plot, write_figure

__all__ = ["class_map", "comparison_page", "sensitivity_plot", "study_page", "write_figure"]
