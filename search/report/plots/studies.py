"""Plots of several studies side by side. Pure functions from rows, by the study's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from search.report import trials
from search.report.style import INK, MODELS, SERIES, plain, spans_decades, styled, whole_numbers
from search.store.results import Row
from trainables.outcome import State

Studies = Mapping[str, Sequence[Row]]


def _colours(names: Sequence[str]) -> dict[str, str]:
    return {name: SERIES[index % len(SERIES)] for index, name in enumerate(names)}


def _complete(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r["state"] == State.COMPLETE and trials.seen(r).gap is not None]


def _told(study: str, row: Row) -> str:
    return f"{plain(study)}<br>{trials.label(row)}"


def fronts(
    studies: Studies,
    front: Mapping[str, Sequence[Row]],
    references: Mapping[str, Mapping[str, float]],
    on: str,
) -> go.Figure:
    """The trials of each study and its Pareto front (forget and retain accuracy, percent); `on`
    says of which images. `references` are metrics of models by name."""
    figure = go.Figure()
    prefix = "synthetic_" if on == "synthetic images" else ""
    for name, colour in _colours(list(studies)).items():
        edge = [trials.seen(row) for row in front[name]]
        figure.add_scatter(
            x=[item.forget for item in edge],
            y=[item.retain for item in edge],
            mode="lines+markers",
            line={"shape": "hv", "color": colour, "width": 2},
            marker={"size": 9, "color": colour},
            name=plain(name),
            legendgroup=name,
            hovertext=[_told(name, row) for row in front[name]],
            hoverinfo="text",
        )
        others = _complete(studies[name])
        figure.add_scatter(
            x=[trials.seen(row).forget for row in others],
            y=[trials.seen(row).retain for row in others],
            mode="markers",
            marker={"size": 5, "color": colour, "opacity": 0.3},
            name=plain(name),
            legendgroup=name,
            showlegend=False,
            hovertext=[_told(name, row) for row in others],
            hoverinfo="text",
        )
    for name, metrics in references.items():
        forget, retain = (metrics.get(f"{prefix}{part}_accuracy") for part in ("forget", "retain"))
        if forget is not None and retain is not None:
            figure.add_scatter(
                x=[forget],
                y=[retain],
                mode="markers",
                marker={"symbol": "star", "size": 15, "color": MODELS.get(name, INK)},
                name=f"{name} model",
                hovertemplate=f"{name} model<extra></extra>",
            )
    figure.update_xaxes(title_text=f"forget accuracy, {on} (%), less is better")
    figure.update_yaxes(title_text=f"retain accuracy, {on} (%)")
    return styled(figure, 460, showlegend=True)


def progress(studies: Studies, on: str) -> go.Figure:
    """The best gap (points) so far by trial number, a line for each study; `on` says of which
    images."""
    figure = go.Figure()
    for name, colour in _colours(list(studies)).items():
        rows = sorted(studies[name], key=lambda row: row["number"])
        figure.add_scatter(
            x=[row["number"] for row in rows],
            y=trials.best_so_far(rows),
            mode="lines",
            line={"shape": "hv", "color": colour, "width": 2},
            name=plain(name),
            hovertemplate=f"{plain(name)}<br>up to trial %{{x}}: %{{y:.2f}} points<extra></extra>",
        )
    numbers = [row["number"] for rows in studies.values() for row in rows]
    figure.update_xaxes(title_text="trial number", **whole_numbers(numbers))
    figure.update_yaxes(title_text=f"best gap so far, {on} (points)", rangemode="tozero")
    return styled(figure, 360, showlegend=True)


def costs(studies: Studies, chosen: Mapping[str, Row], on: str) -> go.Figure:
    """Gap (points) against seconds of unlearning, a point for each complete trial; the best of each
    study ringed."""
    figure = go.Figure()
    seconds: list[float] = []
    for name, colour in _colours(list(studies)).items():
        rows = [r for r in _complete(studies[name]) if r.get("unlearn_seconds") is not None]
        seconds += [row["unlearn_seconds"] for row in rows]
        best = chosen.get(name)
        is_best = [best is not None and row["number"] == best["number"] for row in rows]
        figure.add_scatter(
            x=[row["unlearn_seconds"] for row in rows],
            y=[trials.seen(row).gap for row in rows],
            mode="markers",
            marker={
                "color": colour,
                "size": [13 if ringed else 7 for ringed in is_best],
                "opacity": [1.0 if ringed else 0.5 for ringed in is_best],
                "line": {"color": INK, "width": [2 if ringed else 0 for ringed in is_best]},
            },
            name=plain(name),
            hovertext=[_told(name, row) for row in rows],
            hoverinfo="text",
        )
    kind = "log" if spans_decades(seconds) else "linear"
    figure.update_xaxes(title_text="unlearning (seconds)", type=kind, rangemode="tozero")
    figure.update_yaxes(title_text=f"gap, {on} (points)", rangemode="tozero")
    return styled(figure, 400, showlegend=True, legend={"itemsizing": "constant"})
