"""Plots of a study's trials. Pure functions from rows to figures.

Traces with the meta "trials" have a point for each trial, its number in `customdata`: pages filter
them.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.analysis.agreement import Agreement
from search.analysis.best import probed
from search.analysis.importance import Importance
from search.report import trials
from search.report.style import (
    AMBER,
    BLUE,
    GAP_SCALE,
    GREY,
    INK,
    MODELS,
    MUTED,
    PURPLE,
    RED,
    STATES,
    few_apart,
    is_number,
    on_axis,
    padded,
    plain,
    spans_decades,
    styled,
    value_axis,
    whole_numbers,
)
from search.show.tables import hyperparameters
from search.store.results import Row
from trainables.outcome import State

TRIALS = "trials"


def steering(rows: Sequence[Row]) -> str:
    """What a study was steered by, for the titles of axes."""
    return "synthetic images" if any(map(trials.synthetic, rows)) else "validation"


def gap_title(rows: Sequence[Row]) -> str:
    """The gap's axis: to the retrained model, or, on synthetic images, to the ideal."""
    if any(map(trials.synthetic, rows)):
        return "gap to the ideal, synthetic (points)"
    with_probe = " with probe" if any(map(probed, rows)) else ""
    return f"gap{with_probe} to retrained, validation (points)"


def _points(rows: Sequence[Row], x: Sequence[Any], y: Sequence[Any], **given: Any) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        mode="markers",
        customdata=[row["number"] for row in rows],
        hovertext=[trials.label(row) for row in rows],
        hoverinfo="text",
        meta=TRIALS,
        **given,
    )


def _gap_marker(
    gaps: Sequence[float | None], bar: str | None = None, **given: Any
) -> dict[str, Any]:
    """A marker coloured by gap. The scale ends at the 90th percentile, so that a few hopeless
    trials do not make all others look alike."""
    known = sorted(gap for gap in gaps if gap is not None)
    top = known[min(len(known) - 1, int(0.9 * len(known)))] if known else 1.0
    marker: dict[str, Any] = {
        "size": 9,
        "color": list(gaps),
        "colorscale": GAP_SCALE,
        "cmin": known[0] if known else 0.0,
        "cmax": 1.0 if not known else top if top > known[0] else known[0] + 1.0,
        "line": {"width": 0.75, "color": "rgba(31,41,51,0.55)"},
        **given,
    }
    if bar:
        marker["colorbar"] = {
            "title": {"text": bar, "side": "right"},
            "thickness": 12,
            "outlinewidth": 0,
        }
    return marker


def pareto(
    rows: Sequence[Row], front: Sequence[Row], references: Mapping[str, Mapping[str, float]]
) -> go.Figure:
    """Forget accuracy against retain accuracy (percent) of complete trials, on what steered the
    study; `front` are those that no other beats, `references` the metrics of models by name."""
    complete = [row for row in rows if trials.seen(row).gap is not None and _complete(row)]
    found = [trials.seen(row) for row in complete]
    edge = [trials.seen(row) for row in front]
    figure = go.Figure()
    figure.add_scatter(
        x=[item.forget for item in edge],
        y=[item.retain for item in edge],
        mode="lines+markers",
        line={"shape": "hv", "color": RED, "width": 1.5, "dash": "dot"},
        marker={"symbol": "circle-open", "size": 15, "line": {"width": 1.5}},
        name="front",
        hoverinfo="skip",
    )
    figure.add_trace(
        _points(
            complete,
            [item.forget for item in found],
            [item.retain for item in found],
            marker=_gap_marker([item.gap for item in found], "gap (points)"),
            name="trials",
        )
    )
    prefix = "synthetic_" if any(map(trials.synthetic, rows)) else ""
    for name, metrics in references.items():
        forget, retain = (metrics.get(f"{prefix}{part}_accuracy") for part in ("forget", "retain"))
        if forget is None or retain is None:
            continue
        figure.add_scatter(
            x=[forget],
            y=[retain],
            mode="markers",
            marker={
                "symbol": "star",
                "size": 16,
                "color": MODELS.get(name, INK),
                "line": {"width": 1, "color": "white"},
            },
            name=f"{name} model",
            hovertext=[
                f"<b>{plain(name)} model</b><br>forget {forget:.1f} %, retain {retain:.1f} %"
            ],
            hoverinfo="text",
        )
    figure.update_xaxes(title_text=f"forget accuracy, {steering(rows)} (%), less is better")
    figure.update_yaxes(title_text=f"retain accuracy, {steering(rows)} (%)")
    return styled(figure, 460)


def _complete(row: Row) -> bool:
    return bool(row["state"] == State.COMPLETE)


def _edge(gaps: Sequence[float | None]) -> tuple[list[float], float]:
    """The range of an axis of gaps, and where failed trials stand: below all others."""
    top = max((gap for gap in gaps if gap is not None), default=1.0)
    return padded(0.0, top, below=0.09), -0.045 * (top or 1.0)


def _by_kind(rows: Sequence[Row]) -> list[tuple[str, list[Row], dict[str, Any]]]:
    """Complete, pruned and failed trials, each with its marker."""
    kinds = [
        (
            "complete",
            [r for r in rows if _complete(r)],
            {"color": BLUE, "size": 8, "opacity": 0.85},
        ),
        (
            "pruned (last phase)",
            [r for r in rows if r["state"] == State.PRUNED and trials.seen(r).gap is not None],
            {"color": GREY, "size": 8, "symbol": "triangle-down-open", "line": {"width": 1.5}},
        ),
        (
            "failed (at the lower edge)",
            [r for r in rows if trials.failed(r)],
            {"color": RED, "size": 8, "symbol": "x-thin", "line": {"width": 1.75, "color": RED}},
        ),
    ]
    return [kind for kind in kinds if kind[1]]


def history(rows: Sequence[Row]) -> go.Figure:
    """Gap (points) by trial number, and the best so far; failed trials at the lower edge."""
    rows = sorted(rows, key=lambda row: row["number"])
    span, edge = _edge([trials.seen(row).gap for row in rows])
    figure = go.Figure()
    for name, kind, marker in _by_kind(rows):
        gaps = [edge if trials.failed(row) else trials.seen(row).gap for row in kind]
        numbers = [row["number"] for row in kind]
        figure.add_trace(_points(kind, numbers, gaps, marker=marker, name=name))
    course = trials.best_so_far(rows)
    figure.add_scatter(
        x=[row["number"] for row in rows],
        y=course,
        mode="lines",
        line={"shape": "hv", "color": INK, "width": 1.5},
        name="best so far",
        showlegend=any(gap is not None for gap in course),
        hovertemplate="best up to trial %{x}: %{y:.2f} points<extra></extra>",
    )
    figure.update_xaxes(title_text="trial number", **whole_numbers([row["number"] for row in rows]))
    figure.update_yaxes(title_text=gap_title(rows), range=span)
    return styled(figure, 380)


def hyperparameter_scatter(rows: Sequence[Row]) -> go.Figure:
    """Gap (points) against each hyperparameter that varies, a panel each; failed trials at the
    lower edge."""
    names = list(trials.varying(rows))
    figure, places = _panels(len(names))
    span, edge = _edge([trials.seen(row).gap for row in rows])
    for index, (name, (line, column)) in enumerate(zip(names, places, strict=True)):
        having = [row for row in rows if hyperparameters(row).get(name) is not None]
        axis = value_axis([hyperparameters(row)[name] for row in having])
        for kind, members, marker in _by_kind(having):
            values = [on_axis(hyperparameters(row)[name], axis["type"]) for row in members]
            gaps = [edge if trials.failed(row) else trials.seen(row).gap for row in members]
            figure.add_trace(
                _points(
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
    complete = [row for row in rows if _complete(row) and trials.seen(row).gap is not None]
    dimensions = [_dimension(name, values) for name, values in trials.varying(complete).items()]
    found = [trials.seen(row) for row in complete]
    for name, values in zip(
        ("forget (%)", "retain (%)", "gap (points)"), zip(*found, strict=True), strict=True
    ):
        dimensions.append({"label": name, "values": list(values), "tickformat": ".3~g"})
    marker = _gap_marker([item.gap for item in found])
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


def states(rows: Sequence[Row]) -> go.Figure:
    """How many trials ended in each state."""
    counts = Counter(row["state"] for row in rows)
    known = [state for state in STATES if counts[state]]
    ordered = [*known, *sorted(counts.keys() - STATES.keys())][::-1]
    figure = go.Figure(
        go.Bar(
            y=[plain(state) for state in ordered],
            x=[counts[state] for state in ordered],
            orientation="h",
            marker={"color": [STATES.get(State(s), INK) if s in STATES else INK for s in ordered]},
            text=[str(counts[state]) for state in ordered],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{x} trials %{y}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="trials", rangemode="tozero")
    return styled(figure, 80 + 32 * len(ordered), margin={"r": 50})


TIMES = {
    "queue_seconds": ("waiting for a worker", "#cfd6dc"),
    "unlearn_seconds": ("unlearning", BLUE),
    "evaluate_seconds": ("evaluation", AMBER),
}


def times(rows: Sequence[Row]) -> go.Figure:
    """Where each trial's time went, stacked (seconds)."""
    figure = go.Figure()
    for column, (name, colour) in TIMES.items():
        having = [row for row in rows if row.get(column) is not None]
        figure.add_bar(
            x=[row["number"] for row in having],
            y=[row[column] for row in having],
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=f"trial %{{x}}: {name} %{{y:.2f}} s<extra></extra>",
        )
    figure.update_xaxes(title_text="trial number", **whole_numbers([row["number"] for row in rows]))
    figure.update_yaxes(title_text="time (seconds)")
    return styled(figure, 340, barmode="stack", bargap=0.1)


def lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """For each span of time (start, end), in order of start, the first lane that is free."""
    ends: list[float] = []
    found = []
    for start, end in spans:
        lane = next((index for index, until in enumerate(ends) if until <= start), len(ends))
        ends[lane : lane + 1] = [end]
        found.append(lane)
    return found


UNITS = ((3 * 86_400, "days", 86_400), (3 * 3_600, "hours", 3_600), (300, "minutes", 60))


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which a span of time reads well, and its seconds."""
    return next(((name, size) for least, name, size in UNITS if seconds >= least), ("seconds", 1))


def timeline(rows: Sequence[Row]) -> go.Figure | None:
    """When trials ran, those at the same time above each other, coloured by state; None where most
    of the time nothing ran, so that bars would be hairs."""
    ordered = sorted(rows, key=lambda row: row["started"])
    spans = [(row["started"].timestamp(), row["finished"].timestamp()) for row in ordered]
    begun = min(start for start, _ in spans)
    whole = max(end for _, end in spans) - begun
    if whole <= 0 or sum(end - start for start, end in spans) < 0.1 * whole:
        return None
    name, size = time_unit(whole)
    places = lanes(spans)
    figure = go.Figure()
    for state in dict.fromkeys(row["state"] for row in ordered):
        own = [index for index, row in enumerate(ordered) if row["state"] == state]
        figure.add_bar(
            y=[places[index] + 1 for index in own],
            base=[(spans[index][0] - begun) / size for index in own],
            x=[(spans[index][1] - spans[index][0]) / size for index in own],
            orientation="h",
            name=plain(state),
            marker={
                "color": STATES.get(state, INK),
                "line": {"width": 0.5, "color": "white"},
            },
            hovertext=[
                f"{trials.label(ordered[index])}<br>ran {spans[index][1] - spans[index][0]:.1f} s"
                for index in own
            ],
            hoverinfo="text",
        )
    figure.update_xaxes(title_text=f"time since the first trial began ({name})")
    figure.update_yaxes(title_text="at once", dtick=1 if max(places) < 10 else None)
    height = 120 + 26 * min(16, max(places) + 1)
    return styled(figure, height, barmode="overlay", bargap=0.2, showlegend=True)


def agreement(rows: Sequence[Row], found: Agreement | None) -> go.Figure:
    """Synthetic gap (to the ideal) against real gap (to the retrained model) of complete trials
    that have both, in points, with Kendall's tau."""
    both = [
        row
        for row in rows
        if _complete(row)
        and row.get("m_gap") is not None
        and row.get("m_synthetic_gap") is not None
    ]
    figure = go.Figure(
        _points(
            both,
            [row["m_synthetic_gap"] for row in both],
            [row["m_gap"] for row in both],
            marker={"color": PURPLE, "size": 8, "opacity": 0.8},
            name="trials",
        )
    )
    if found is not None:
        figure.add_annotation(
            text=plain(found),
            xref="paper",
            yref="paper",
            x=0,
            y=1.02,
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            font={"color": MUTED},
        )
    figure.update_xaxes(title_text="gap to the ideal on synthetic images (points)")
    figure.update_yaxes(title_text="gap to retrained, validation (points)")
    return styled(figure, 380, margin={"t": 40}, showlegend=False)
