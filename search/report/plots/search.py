"""What the trials of a search came to: front, history, agreement of synthetic with real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from search.analysis.agreement import Agreement
from search.report import trials
from search.report.plots.points import (
    by_kind,
    edge_of,
    gap_marker,
    gap_title,
    is_complete,
    points,
    steering,
)
from search.report.style import INK, MODELS, MUTED, PURPLE, RED, plain, styled, whole_numbers
from search.store.results import Row


def pareto(
    rows: Sequence[Row], front: Sequence[Row], references: Mapping[str, Mapping[str, float]]
) -> go.Figure:
    """Forget accuracy against retain accuracy (percent) of complete trials, on what steered the
    study; `front` are those that no other beats, `references` the metrics of models by name."""
    complete = [row for row in rows if trials.seen(row).gap is not None and is_complete(row)]
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
        points(
            complete,
            [item.forget for item in found],
            [item.retain for item in found],
            marker=gap_marker([item.gap for item in found], "gap (points)"),
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


def history(rows: Sequence[Row]) -> go.Figure:
    """Gap (points) by trial number, and the best so far; failed trials at the lower edge."""
    rows = sorted(rows, key=lambda row: row["number"])
    span, edge = edge_of([trials.seen(row).gap for row in rows])
    figure = go.Figure()
    for name, kind, marker in by_kind(rows):
        gaps = [edge if trials.failed(row) else trials.seen(row).gap for row in kind]
        numbers = [row["number"] for row in kind]
        figure.add_trace(points(kind, numbers, gaps, marker=marker, name=name))
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


def agreement(rows: Sequence[Row], found: Agreement | None) -> go.Figure:
    """Synthetic gap (to the ideal) against real gap (to the retrained model) of complete trials
    that have both, in points, with Kendall's tau."""
    both = [
        row
        for row in rows
        if is_complete(row)
        and row.get("m_gap") is not None
        and row.get("m_synthetic_gap") is not None
    ]
    figure = go.Figure(
        points(
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
