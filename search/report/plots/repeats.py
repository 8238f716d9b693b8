"""Repeats of configurations, beside what the search found."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from search.report.style import BLUE, RED, plain, styled


def repeats(found: Mapping[str, tuple[Sequence[float], float | None]], title: str) -> go.Figure:
    """The gap (points) of each repeat of configurations, their means with error bars, and what the
    search had measured once: by label, the repeats' and the search's gap. `title` is the axis'."""
    figure = go.Figure()
    names = [plain(name) for name in found]
    figure.add_scatter(
        x=[name for name, (gaps, _) in zip(names, found.values(), strict=True) for _ in gaps],
        y=[gap for gaps, _ in found.values() for gap in gaps],
        mode="markers",
        marker={"color": BLUE, "size": 6, "opacity": 0.45},
        name="single repeats",
        hovertemplate="%{x}: %{y:.2f} points<extra></extra>",
    )
    known = [(name, gaps) for name, (gaps, _) in zip(names, found.values(), strict=True) if gaps]
    figure.add_scatter(
        x=[name for name, _ in known],
        y=[statistics.fmean(gaps) for _, gaps in known],
        error_y={
            "type": "data",
            "array": [statistics.stdev(gaps) if len(gaps) > 1 else 0.0 for _, gaps in known],
            "thickness": 1.4,
            "width": 6,
        },
        mode="markers",
        marker={"color": BLUE, "size": 10},
        name="mean ± standard deviation",
        hovertemplate="%{x}: mean %{y:.2f} points<extra></extra>",
    )
    figure.add_scatter(
        x=[name for name, (_, once) in zip(names, found.values(), strict=True) if once is not None],
        y=[once for _, once in found.values() if once is not None],
        mode="markers",
        marker={"symbol": "diamond-open", "color": RED, "size": 10, "line": {"width": 2}},
        name="in the search, once",
        hovertemplate="%{x} in the search: %{y:.2f} points<extra></extra>",
    )
    figure.update_xaxes(title_text="configuration", type="category", range=[-0.5, len(names) - 0.5])
    figure.update_yaxes(title_text=title, rangemode="tozero")
    return styled(figure, 340)
