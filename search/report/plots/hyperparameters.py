"""Plots over hyperparameters: trials, importance, parallel coordinates."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.analysis.importance import Importance
from search.report import trials
from search.report.plots.points import by_kind, edge_of, gap_marker, is_complete, points
from search.report.style import (
    BLUE,
    INK,
    MUTED,
    few_apart,
    is_number,
    on_axis,
    plain,
    spans_decades,
    styled,
    value_axis,
)
from search.show.tables import hyperparameters
from search.store.results import Row


def hyperparameter_scatter(rows: Sequence[Row]) -> go.Figure:
    """Gap (points) against each hyperparameter that varies, a panel each; failed trials at the
    lower edge."""
    names = list(trials.varying(rows))
    figure, places = _panels(len(names))
    span, edge = edge_of([trials.seen(row).gap for row in rows])
    for index, (name, (line, column)) in enumerate(zip(names, places, strict=True)):
        having = [row for row in rows if hyperparameters(row).get(name) is not None]
        axis = value_axis([hyperparameters(row)[name] for row in having])
        for kind, members, marker in by_kind(having):
            values = [on_axis(hyperparameters(row)[name], axis["type"]) for row in members]
            gaps = [edge if trials.failed(row) else trials.seen(row).gap for row in members]
            figure.add_trace(
                points(
                    members,
                    values,
                    gaps,
                    marker=marker | {"size": 6},
                    name=kind,
                    legendgroup=kind,
                    showlegend=index == 0,
                ),
                row=line,
                col=column,
            )
        figure.update_xaxes(title_text=plain(name), row=line, col=column, **axis)
        figure.update_yaxes(range=span, row=line, col=column)
        if column == 1:
            figure.update_yaxes(title_text=_short_gap(rows), row=line, col=1)
    return styled(figure, 60 + 250 * places[-1][0] if places else 120)


def _short_gap(rows: Sequence[Row]) -> str:
    return "synthetic gap (points)" if any(map(trials.synthetic, rows)) else "gap (points)"


def _panels(count: int, columns: int = 2) -> tuple[go.Figure, list[tuple[int, int]]]:
    lines = max(1, math.ceil(count / columns))
    figure = make_subplots(
        lines, columns, horizontal_spacing=0.09, vertical_spacing=min(0.3, 0.24 / lines + 0.04)
    )
    return figure, [(index // columns + 1, index % columns + 1) for index in range(count)]


def importances(found: Sequence[Importance], target: str) -> go.Figure:
    """Shares (percent) of the hyperparameters in what a figure depends on, with their intervals;
    the most important on top."""
    ordered = sorted(found, key=lambda item: item.share)
    figure = go.Figure(
        go.Bar(
            y=[plain(item.name) for item in ordered],
            x=[100 * item.share for item in ordered],
            orientation="h",
            marker={"color": BLUE, "opacity": 0.85},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (item.high - item.share) for item in ordered],
                "arrayminus": [100 * (item.share - item.low) for item in ordered],
                "color": INK,
                "thickness": 1.2,
                "width": 4,
            },
            hovertext=[plain(item) for item in ordered],
            hoverinfo="text",
        )
    )
    figure.update_xaxes(title_text=f"share of the importance for the {target} (%)", range=[0, 102])
    return styled(figure, 90 + 34 * len(ordered))


def parallel(rows: Sequence[Row]) -> go.Figure:
    """Complete trials as lines over their hyperparameters and figures (percent, points), coloured
    by gap; ranges can be brushed on the axes."""
    complete = [row for row in rows if is_complete(row) and trials.seen(row).gap is not None]
    dimensions = [_dimension(name, values) for name, values in trials.varying(complete).items()]
    found = [trials.seen(row) for row in complete]
    for name, values in zip(
        ("forget (%)", "retain (%)", "gap (points)"), zip(*found, strict=True), strict=True
    ):
        dimensions.append({"label": name, "values": list(values), "tickformat": ".3~g"})
    marker = gap_marker([item.gap for item in found])
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                **{key: marker[key] for key in ("color", "colorscale", "cmin", "cmax")},
                "showscale": True,
                "colorbar": {
                    "title": {"text": "gap (points)", "side": "right"},
                    "thickness": 12,
                    "outlinewidth": 0,
                },
            },
            labelfont={"size": 12, "color": INK},
            tickfont={"size": 11, "color": MUTED},
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
            unselected={"line": {"opacity": 0.06}},
        )
    )
    crowded = len(dimensions) > 6
    if crowded:
        figure.update_traces(labelangle=-15)
    return styled(figure, 430, margin={"l": 90, "r": 30, "t": 90 if crowded else 60, "b": 30})


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """An axis of parallel coordinates, which knows neither logarithms nor words."""
    if spans_decades(values):
        powers = [math.log10(value) for value in values]
        low, high = math.floor(min(powers)), math.ceil(max(powers))
        step = max(1, math.ceil((high - low) / 8))
        ticks = list(range(low, high + 1, step))
        texts = [f"{10.0**tick:g}" for tick in ticks]
        return {
            "label": plain(name),
            "values": powers,
            "tickvals": ticks,
            "ticktext": texts,
            "range": [low, high],
        }
    if all(is_number(value) for value in values):
        few = few_apart(values)
        ticks_of_few = {"tickvals": few} if few else {}
        return {"label": plain(name), "values": list(values), "tickformat": ".4~g", **ticks_of_few}
    words = sorted({str(value) for value in values})
    return {
        "label": plain(name),
        "values": [words.index(str(value)) for value in values],
        "tickvals": list(range(len(words))),
        "ticktext": [
            textwrap.shorten(word, 24, placeholder="...") for word in words
        ],  # no HTML here
    }
