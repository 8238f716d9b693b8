"""Plots of courses: of unlearning over phases, of training over epochs. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.report import trials
from search.report.plots.points import steering
from search.report.style import GREY, INK, MODELS, RED, styled, whole_numbers
from search.store.results import Row
from trainables.outcome import State

PANELS = {
    "forget_accuracy": "forget accuracy (%)",
    "retain_accuracy": "retain accuracy (%)",
    "gap": "gap (points)",
}


def phases(rows: Sequence[Row], best: int | None = None) -> go.Figure:
    """Forget and retain accuracy (percent) and gap (points) after each phase or epoch of each trial
    that has a curve, on what steered the study; the trial with the number `best` in bold."""
    prefix = "curve_synthetic_" if any(map(trials.synthetic, rows)) else "curve_"
    kinds = {
        "complete": ([r for r in rows if r["state"] == State.COMPLETE], "rgba(47,102,144,0.45)"),
        "pruned": ([r for r in rows if r["state"] == State.PRUNED], GREY),
        "failed": ([r for r in rows if trials.failed(r)], "rgba(200,85,61,0.6)"),
        f"trial {best}, the best": ([r for r in rows if r["number"] == best], INK),
    }
    figure = make_subplots(1, len(PANELS), horizontal_spacing=0.08)
    for column, (metric, title) in enumerate(PANELS.items(), start=1):
        for name, (members, colour) in kinds.items():
            having = [row for row in members if row.get(prefix + metric)]
            if not having:
                continue
            bold = colour == INK
            figure.add_scatter(
                # A gap between trials, so that one trace draws them all.
                x=[x for row in having for x in (*range(1, len(row[prefix + metric]) + 1), None)],
                y=[y for row in having for y in (*row[prefix + metric], None)],
                mode="lines+markers",
                line={"color": colour, "width": 2.5 if bold else 1.25},
                marker={"size": 6 if bold else 4},
                hovertext=[
                    text
                    for row in having
                    for text in (*_told(row, row[prefix + metric], title), "")
                ],
                hoverinfo="text",
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                connectgaps=False,
                row=1,
                col=column,
            )
        figure.update_yaxes(title_text=title, row=1, col=column)
    lengths = [len(row.get(prefix + metric) or []) for row in rows for metric in PANELS]
    figure.update_xaxes(
        title_text=f"phase or epoch ({steering(rows)})", **whole_numbers([1, max(lengths)])
    )
    return styled(figure, 340)


def _told(row: Row, values: Sequence[float], title: str) -> list[str]:
    return [
        f"<b>trial {row['number']}</b>, {row['state']}<br>phase {phase}: {title} {value:.1f}"
        for phase, value in enumerate(values, start=1)
    ]


def has_curves(rows: Sequence[Row]) -> bool:
    """Whether any trial has a course that `phases` can show."""
    prefix = "curve_synthetic_" if any(map(trials.synthetic, rows)) else "curve_"
    return any(row.get(prefix + metric) for row in rows for metric in PANELS)


TRAINING = {
    "training_loss": "training loss (nats)",
    "validation_accuracy": "validation accuracy, all classes (%)",
}


def training(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Training loss and validation accuracy (percent) over epochs, by the name of the model."""
    figure = make_subplots(1, 2, horizontal_spacing=0.1)
    for column, (figure_of, title) in enumerate(TRAINING.items(), start=1):
        for name, epochs in curves.items():
            known = [epoch.get(figure_of) for epoch in epochs]
            figure.add_scatter(
                x=list(range(1, len(known) + 1)),
                y=known,
                mode="lines+markers",
                line={"color": MODELS.get(name, RED), "width": 1.75},
                marker={"size": 4},
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                hovertemplate=f"{name}, epoch %{{x}}: %{{y:.3g}}<extra></extra>",
                row=1,
                col=column,
            )
        figure.update_yaxes(title_text=title, row=1, col=column)
    most = max(map(len, curves.values()), default=1)
    figure.update_xaxes(title_text="epoch", **whole_numbers([1, most]))
    return styled(figure, 320)
