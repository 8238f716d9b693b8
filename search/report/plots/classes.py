"""Plots class by class: a map over forgotten classes, bars of one configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.analysis.by_class import Target
from search.report.style import ACCURACY_SCALE, BLUE, MODELS, RED, plain, styled, titled

MOST_NUMBERED = 20
"""Classes up to which a map has the numbers in its cells."""


def class_map(
    targets: Sequence[Target], classes: Sequence[str], split: str = "test", title: str = ""
) -> go.Figure:
    """Accuracy (percent) on each class after each class was forgotten, unlearned beside retrained
    on one scale; the forgotten class of each line is framed (figures 8-10 of the thesis). `title`
    stands above."""
    count = len(classes)
    figure = make_subplots(
        1,
        2,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[f"unlearned, {split}", f"retrained, {split}"],
    )
    names = [plain(name) for name in classes]
    own = [names[target.label] for target in targets]
    for column, (model, lines) in enumerate(
        {
            "unlearned": [target.accuracies(split, count) for target in targets],
            "retrained": [target.references(split, count) for target in targets],
        }.items(),
        start=1,
    ):
        figure.add_heatmap(
            x=list(range(count)),
            y=list(range(len(targets))),
            z=[[cell.mean for cell in line] for line in lines],
            text=[
                ["" if cell.mean is None else f"{cell.mean:.0f}" for cell in line] for line in lines
            ],
            texttemplate="%{text}" if count <= MOST_NUMBERED else None,
            textfont={"size": 11},
            hovertext=[
                [
                    f"{model}, forgetting {own[index]}<br>class {names[label]}: <b>{cell} %</b>"
                    + _remark(target)
                    for label, cell in enumerate(line)
                ]
                for index, (target, line) in enumerate(zip(targets, lines, strict=True))
            ],
            hoverinfo="text",
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            row=1,
            col=column,
        )
        for index, target in enumerate(targets):
            figure.add_shape(
                type="rect",
                x0=target.label - 0.5,
                x1=target.label + 0.5,
                y0=index - 0.5,
                y1=index + 0.5,
                line={"color": RED, "width": 1.75},
                row=1,
                col=column,
            )
    figure.update_xaxes(
        title_text="accuracy on class",
        tickvals=list(range(count)),
        ticktext=names,
        showgrid=False,
        ticks="",
        range=[-0.5, count - 0.5],
    )
    marks = [" (failed)" if _nothing(target, split, count) else "" for target in targets]
    figure.update_yaxes(
        tickvals=list(range(len(targets))),
        ticktext=[name + mark for name, mark in zip(own, marks, strict=True)],
        range=[len(targets) - 0.5, -0.5],
        showgrid=False,
        ticks="",
    )
    figure.update_yaxes(title_text="forgotten class", row=1, col=1)
    figure = styled(
        figure,
        150 + min(36 if len(targets) <= MOST_NUMBERED else 14, 640) * max(2, len(targets)),
        margin={"t": 40},
        coloraxis={
            "cmin": 0,
            "cmax": 100,
            "colorscale": ACCURACY_SCALE,
            "colorbar": {"title": {"text": "accuracy (%)", "side": "right"}, "thickness": 12},
        },
    )
    return titled(figure, title)


def _nothing(target: Target, split: str, count: int) -> bool:
    return all(cell.mean is None for cell in target.accuracies(split, count))


def _remark(target: Target) -> str:
    return f"<br>{plain(target.remark)}" if target.remark else ""


def class_bars(
    accuracies: Mapping[str, Mapping[str, Sequence[float | None]]],
    classes: Sequence[str],
    forget: Sequence[int],
) -> go.Figure:
    """Accuracy (percent) of models class by class: `accuracies` by split, then by model; the
    forget classes are named so."""
    splits = {split: models for split, models in accuracies.items() if models}
    figure = make_subplots(max(1, len(splits)), 1, shared_xaxes=True, vertical_spacing=0.07)
    names = [
        plain(name) + (" (forget)" if label in forget else "") for label, name in enumerate(classes)
    ]
    for line, (split, models) in enumerate(splits.items(), start=1):
        for model, values in models.items():
            figure.add_bar(
                x=list(range(len(classes))),
                y=list(values),
                name=model,
                legendgroup=model,
                showlegend=line == 1,
                marker={"color": MODELS.get(model, BLUE), "line": {"width": 0}},
                hovertext=[
                    f"{model}, class {name}: {'-' if v is None else f'{v:.1f} %'}"
                    for name, v in zip(names, values, strict=True)
                ],
                hoverinfo="text",
                row=line,
                col=1,
            )
        figure.update_yaxes(title_text=f"accuracy,<br>{split} (%)", range=[0, 103], row=line, col=1)
    figure.update_xaxes(tickvals=list(range(len(classes))), ticktext=names, showgrid=False)
    figure.update_xaxes(title_text="class", row=max(1, len(splits)), col=1)
    return styled(figure, 110 + 200 * max(1, len(splits)), barmode="group", bargap=0.25)
