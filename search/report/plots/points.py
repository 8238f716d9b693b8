"""Points of trials, as all plots of a study show them.

Traces with the meta "trials" have a point for each trial, its number in `customdata`: pages filter
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from search.analysis.best import probed
from search.report import trials
from search.report.style import BLUE, GAP_SCALE, GREY, RED, padded
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


def points(rows: Sequence[Row], x: Sequence[Any], y: Sequence[Any], **given: Any) -> go.Scatter:
    """A point for each of these trials, which pages filter and label."""
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


def gap_marker(
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


def is_complete(row: Row) -> bool:
    """Whether a trial ran to its end."""
    return bool(row["state"] == State.COMPLETE)


def edge_of(gaps: Sequence[float | None]) -> tuple[list[float], float]:
    """The range of an axis of gaps, and where failed trials stand: below all others."""
    top = max((gap for gap in gaps if gap is not None), default=1.0)
    return padded(0.0, top, below=0.09), -0.045 * (top or 1.0)


def by_kind(rows: Sequence[Row]) -> list[tuple[str, list[Row], dict[str, Any]]]:
    """Complete, pruned and failed trials, each with its marker."""
    kinds = [
        (
            "complete",
            [r for r in rows if is_complete(r)],
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
