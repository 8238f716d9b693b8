"""Plots of designed sweeps: a curve over one hyperparameter, a map over two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.analysis.sensitivity import SPLITS, Point
from search.analysis.sensitivity import plain as written
from search.analysis.sheets import Cell
from search.report.style import (
    ACCURACY_SCALE,
    GAP_SCALE,
    INK,
    METRICS,
    MUTED,
    RED,
    is_number,
    on_axis,
    padded,
    plain,
    styled,
    titled,
    value_axis,
)
from trainables.errors import InvalidRequest

TITLES = {
    "forget_accuracy": "forget accuracy (%)",
    "retain_accuracy": "retain accuracy (%)",
    "mia": "MIA, called members (%)",
    "gap": "gap (points)",
}


def sensitivity_plot(
    points: Sequence[Point],
    names: Sequence[str],
    split: str = "test",
    retrained: Mapping[str, float] | None = None,
    title: str = "",
) -> go.Figure:
    """What a sweep over one or two hyperparameters found: forget and retain accuracy (percent), MIA
    (percent) and gap (points), a panel each.

    Over one, means with error bars over its values, on a logarithmic axis where they span decades;
    over two, a map in colours. `retrained` are the metrics of the retrained model, by the names of
    study.json: dashed lines. Points with repeats that failed are marked. `title` stands above.
    Raises InvalidRequest for an unknown split, no points, and more than two hyperparameters.
    """
    if split not in SPLITS:
        raise InvalidRequest(f"unknown split {split!r} (possible: {', '.join(SPLITS)})")
    if not points:
        raise InvalidRequest("the sweep has no trials yet, so there is nothing to plot")
    if len(names) not in (1, 2):
        raise InvalidRequest(
            f"a plot shows one or two hyperparameters, and {len(names)} vary in this sweep"
        )
    metrics = [name for name in TITLES if not (split == "synthetic" and name == "mia")]
    figure = make_subplots(
        2,
        2,
        horizontal_spacing=0.11 if len(names) == 1 else 0.2,
        vertical_spacing=0.17 if len(names) == 1 else 0.2,
        subplot_titles=None if len(names) == 1 else [f"{TITLES[m]}, {split}" for m in metrics],
    )
    for index, metric in enumerate(metrics):
        place = {"row": index // 2 + 1, "col": index % 2 + 1}
        cells = [point.cell(SPLITS[split] + metric) for point in points]
        if len(names) == 1:
            line = (retrained or {}).get(SPLITS[split] + metric)
            _curve(figure, place, points, names[0], metric, cells, line)
            figure.update_yaxes(title_text=f"{TITLES[metric]}, {split}", **place)
        else:
            _map(figure, place, points, names, metric, cells)
    return titled(styled(figure, 560 if len(names) == 1 else 620, margin={"t": 40}), title)


def _curve(
    figure: go.Figure,
    place: dict[str, int],
    points: Sequence[Point],
    name: str,
    metric: str,
    cells: Sequence[Cell],
    retrained: float | None,
) -> None:
    axis = value_axis([point.values[0] for point in points])
    x = [on_axis(point.values[0], axis["type"]) for point in points]
    first = place == {"row": 1, "col": 1}
    ends = [
        c.mean + sign * (c.spread or 0) for c in cells if c.mean is not None for sign in (-1, 1)
    ]
    ends += [] if retrained is None else [retrained]
    span = padded(min(ends, default=0.0), max(ends, default=1.0), below=0.14)
    figure.add_scatter(
        x=x,
        y=[cell.mean for cell in cells],
        error_y={
            "type": "data",
            "array": [cell.spread or 0.0 for cell in cells],
            "thickness": 1.2,
            "width": 4,
        },
        mode="lines+markers",
        connectgaps=False,
        line={"color": METRICS[metric], "width": 1.75},
        marker={"size": 7},
        hovertext=[
            _told(point, [name], metric, cell) for point, cell in zip(points, cells, strict=True)
        ],
        hoverinfo="text",
        name=TITLES[metric],
        showlegend=False,
        **place,
    )
    failed = [index for index, point in enumerate(points) if point.failures]
    if failed:
        figure.add_scatter(
            x=[x[index] for index in failed],
            y=[span[0] + 0.04 * (span[1] - span[0])] * len(failed),
            mode="markers",
            marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": RED}},
            hovertext=[_told(points[index], [name], metric, cells[index]) for index in failed],
            hoverinfo="text",
            name="with failed trials (at the lower edge)",
            legendgroup="failed",
            showlegend=first,
            **place,
        )
    if retrained is not None:
        # A line of two points and no shape, so that it has a place in the legend.
        figure.add_scatter(
            x=[x[0], x[-1]],
            y=[retrained, retrained],
            mode="lines",
            line={"color": INK, "width": 1.25, "dash": "dash"},
            hovertext=f"retrained model: {retrained:.1f}",
            hoverinfo="text",
            name="retrained model",
            legendgroup="retrained",
            showlegend=first,
            **place,
        )
    figure.update_xaxes(title_text=plain(name), **axis, **place)
    figure.update_yaxes(range=span, **place)


def _told(point: Point, names: Sequence[str], metric: str, cell: Cell) -> str:
    lines = [f"{plain(n)} = {plain(written(v))}" for n, v in zip(names, point.values, strict=True)]
    lines += [f"{TITLES[metric]}: <b>{cell}</b>", f"{len(point.rows)} repeats"]
    if point.failures:
        lines.append(f"failed: {plain(point.failures)}")
    return "<br>".join(lines)


def _map(
    figure: go.Figure,
    place: dict[str, int],
    points: Sequence[Point],
    names: Sequence[str],
    metric: str,
    cells: Sequence[Cell],
) -> None:
    """A cell for each combination of a grid; the points of another design where they lie."""
    axes = [_distinct([point.values[index] for point in points]) for index in (0, 1)]
    domain = figure.get_subplot(**place)
    bar = {
        "x": domain.xaxis.domain[1] + 0.01,
        "y": sum(domain.yaxis.domain) / 2,
        "len": domain.yaxis.domain[1] - domain.yaxis.domain[0],
        "thickness": 10,
        "outlinewidth": 0,
    }
    told = [_told(point, names, metric, cell) for point, cell in zip(points, cells, strict=True)]
    percent = metric != "gap"
    scale = {
        "colorscale": ACCURACY_SCALE if percent else GAP_SCALE,
        "colorbar": bar,
        **({"zmin": 0, "zmax": 100} if percent else {}),
    }
    if len(axes[0]) * len(axes[1]) <= 2 * len(points):
        index = {point.values: number for number, point in enumerate(points)}
        found = [[index.get((x, y)) for x in axes[0]] for y in axes[1]]
        words = [[written(value) for value in axis] for axis in axes]
        figure.add_heatmap(
            x=[plain(word) for word in words[0]],
            y=[plain(word) for word in words[1]],
            z=[[None if i is None else cells[i].mean for i in line] for line in found],
            text=[[_in_cell(points, cells, i) for i in line] for line in found],
            texttemplate="%{text}" if max(map(len, axes)) <= 10 else None,
            hovertext=[["" if i is None else told[i] for i in line] for line in found],
            hoverinfo="text",
            xgap=1,
            ygap=1,
            **scale,
            **place,
        )
        figure.update_xaxes(type="category", title_text=plain(names[0]), showgrid=False, **place)
        figure.update_yaxes(type="category", title_text=plain(names[1]), showgrid=False, **place)
        return
    colours = {"cmin": 0, "cmax": 100} if percent else {}
    kinds = [value_axis(axis) for axis in axes]
    figure.add_scatter(
        x=[on_axis(point.values[0], kinds[0]["type"]) for point in points],
        y=[on_axis(point.values[1], kinds[1]["type"]) for point in points],
        mode="markers",
        marker={
            "size": 11,
            "color": [cell.mean for cell in cells],
            "symbol": ["x" if cell.mean is None else "circle" for cell in cells],
            "colorscale": scale["colorscale"],
            "colorbar": bar,
            "line": {"width": 0.75, "color": MUTED},
            **colours,
        },
        hovertext=told,
        hoverinfo="text",
        showlegend=False,
        **place,
    )
    figure.update_xaxes(title_text=plain(names[0]), **kinds[0], **place)
    figure.update_yaxes(title_text=plain(names[1]), **kinds[1], **place)


def _distinct(values: Sequence[Any]) -> list[Any]:
    return sorted(dict.fromkeys(values), key=lambda value: (not is_number(value), value))


def _in_cell(points: Sequence[Point], cells: Sequence[Cell], index: int | None) -> str:
    if index is None:
        return ""
    mean = cells[index].mean
    mark = " *" if points[index].failures else ""
    return ("" if mean is None else f"{mean:.1f}") + mark
