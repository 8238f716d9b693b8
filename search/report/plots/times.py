"""How trials ended, and where their time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from search.report import trials
from search.report.style import AMBER, BLUE, INK, STATES, plain, styled, whole_numbers
from search.store.results import Row
from trainables.outcome import State


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
