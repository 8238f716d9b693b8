"""Colours, axes and texts that all plots share, and a figure as a file of its own."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from trainables.artifacts.files import write_whole
from trainables.outcome import State

INK, MUTED, LINE, GRID = "#1f2933", "#66727f", "#b8c1ca", "#e9edf0"
BLUE, RED, GREEN, PURPLE, AMBER, GREY = (
    *("#2f6690", "#c8553d", "#2a7f62", "#7b5ea7"),
    *("#c98a1b", "#9aa5b1"),
)
SERIES = (BLUE, RED, GREEN, PURPLE, AMBER, "#3a9fb5", "#8b5e3c", "#d1668f", "#5c6b3c", INK)
"""For studies side by side; they come round again after the last."""

METRICS = {"forget_accuracy": RED, "retain_accuracy": GREEN, "mia": PURPLE, "gap": BLUE}
MODELS = {"unlearned": BLUE, "original": AMBER, "retrained": "#55606b", "control": PURPLE}
STATES = {
    State.COMPLETE: BLUE,
    State.PRUNED: GREY,
    State.DIVERGED: RED,
    State.OOM: AMBER,
    State.CRASHED: "#7d1d3f",
    State.TIMEOUT: PURPLE,
    State.STARVED: "#8b5e3c",
}
GAP_SCALE = "Viridis"
ACCURACY_SCALE = [[0.0, "#fbf6ec"], [0.25, "#d6e3e4"], [0.6, "#6f9fb5"], [1.0, "#1d4e73"]]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "responsive": True,
    "toImageButtonOptions": {"format": "svg"},
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "sendChartToCloud"],
    "plotlyServerURL": "",
}
"""Of Plotly in the browser. The button with the camera saves a vector graphic, for a paper; the one
that sends figures to Plotly's servers is not there, and has no server to send to."""

_AXIS = {
    "gridcolor": GRID,
    "linecolor": LINE,
    "showline": True,
    "ticks": "outside",
    "tickcolor": LINE,
    "ticklen": 4,
    "zeroline": False,
    "automargin": True,
    "exponentformat": "power",
    "title": {"standoff": 8, "font": {"size": 13}},
}

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": SERIES,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
        "hovermode": "closest",
        "hoverlabel": {
            "align": "left",
            "bgcolor": "white",
            "bordercolor": LINE,
            "font": {"family": FONT, "size": 12, "color": INK},
            "namelength": 0,
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.01,
            "yanchor": "bottom",
            "bgcolor": "rgba(255,255,255,0)",
        },
        "bargap": 0.15,
    }
)


def styled(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """The figure in the house's style; height in pixels."""
    return figure.update_layout(template=TEMPLATE, height=height, **layout)


def titled(figure: go.Figure, title: str) -> go.Figure:
    """The figure with a title, and room for it; the same figure for none."""
    if not title:
        return figure
    return figure.update_layout(
        title={"text": plain(title), "x": 0.01, "y": 0.985, "yanchor": "top", "font": {"size": 15}},
        margin={"t": 84},
        height=figure.layout.height + 44,
    )


def plain(text: object) -> str:
    """A text that Plotly shows as it is: its labels take some HTML, links among it."""
    return html.escape(str(text), quote=False)


def spans_decades(values: Sequence[Any]) -> bool:
    """Whether an axis of these values is better logarithmic: positive numbers, the largest more
    than fifty times the smallest."""
    numbers = [value for value in values if is_number(value)]
    if not numbers or len(numbers) < len(values) or min(numbers) <= 0:
        return False
    return bool(max(numbers) > 50 * min(numbers))


def is_number(value: Any) -> bool:
    """Whether a value of a hyperparameter is a number; True and False are words here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_axis(values: Sequence[Any]) -> dict[str, Any]:
    """Type of an axis of a hyperparameter: logarithmic, linear, or words in their order."""
    if spans_decades(values):
        return {"type": "log"}
    if all(is_number(value) for value in values):
        few = few_apart(values)
        return {"type": "linear", **({"tickvals": few} if few else {})}
    words = sorted({str(value) for value in values})
    return {"type": "category", "categoryorder": "array", "categoryarray": words}


def whole_numbers(values: Sequence[int]) -> dict[str, Any]:
    """Ticks of an axis of counts: never between whole numbers."""
    span = max(values, default=0) - min(values, default=0)
    return {"tickformat": "d", **({"dtick": 1} if span <= 10 else {})}


def few_apart(values: Sequence[Any]) -> list[Any]:
    """The values themselves, where they are so few and so far apart that each can be a tick."""
    few = sorted(set(values))
    if not 2 <= len(few) <= 8:
        return []
    closest = min(after - before for before, after in itertools.pairwise(few))
    return few if closest >= 0.08 * (few[-1] - few[0]) else []


def on_axis(value: Any, kind: str) -> Any:
    """A value of a hyperparameter as an axis of this kind takes it."""
    return plain(value) if kind == "category" else value


def padded(low: float, high: float, below: float = 0.06, above: float = 0.06) -> list[float]:
    """The range of an axis with room at both ends, in shares of the span."""
    span = (high - low) or max(abs(high), 1.0)
    return [low - below * span, high + above * span]


def write_figure(figure: go.Figure, path: Path) -> None:
    """One HTML file with the figure, which needs no network; whole or not at all. Raises OSError.

    The button with the camera saves the figure as SVG.
    """
    text = figure.to_html(
        include_plotlyjs=True,
        full_html=True,
        config={**CONFIG, "toImageButtonOptions": {"format": "svg", "filename": path.stem}},
    )
    write_whole(path, text.encode())
