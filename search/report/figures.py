"""Figures of trials and models as columns of a table, by what chose and what was looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.report import trials
from search.report.blocks import Cell, Line, Table, amount, word
from search.report.gathered import Gathered

CHOSEN = "validation (chose)"
LOOKED_AT = "test (only looked at)"

_PROBE = {"probe": "probe", "gap with probe": "probe_gap"}
_REAL = {
    **{"forget": "forget_accuracy", "retain": "retain_accuracy", "MIA": "mia", "gap": "gap"},
    **_PROBE,
}
_SYNTHETIC = {name: _REAL[name] for name in ("forget", "retain", "gap")}


def figure_columns(rows: Sequence[Mapping[str, Any]], synthetic: bool) -> dict[str, dict[str, str]]:
    """Columns of metrics by group: heading -> metric. Groups that nothing was measured of are left
    out, and so is the probe, which earlier versions did not measure."""

    def measured(metric: str) -> bool:
        return any(row.get(f"m_{metric}") is not None for row in rows)

    groups = {CHOSEN: _REAL, LOOKED_AT: {k: f"test_{v}" for k, v in _REAL.items()}}
    if synthetic:
        own = {heading: f"synthetic_{metric}" for heading, metric in _SYNTHETIC.items()}
        groups = {
            "synthetic images (chose)": own,
            "validation (only looked at)": _REAL,
            LOOKED_AT: groups[LOOKED_AT],
        }
    return {
        group: {
            heading: metric
            for heading, metric in columns.items()
            if heading not in _PROBE or measured(metric)
        }
        for group, columns in groups.items()
        if any(map(measured, columns.values()))
    }


def figure_cells(row: Mapping[str, Any], groups: Mapping[str, Mapping[str, str]]) -> list[Cell]:
    """A trial's figures, a cell for each of these columns."""
    metrics = [metric for columns in groups.values() for metric in columns.values()]
    return [amount(trials.finite(row.get(f"m_{metric}"))) for metric in metrics]


def as_row(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Metrics of a model as a trial's row has them."""
    return {f"m_{name}": value for name, value in metrics.items()}


def reference_lines(
    study: Gathered, groups: Mapping[str, Mapping[str, str]], before: int, after: int
) -> list[Line]:
    """Lines of the original and the retrained model and of the control, with empty cells around
    their figures."""
    return [
        Line(
            [
                word(name),
                *[Cell("")] * (before - 1),
                *figure_cells(as_row(metrics), groups),
                *[Cell("")] * after,
            ],
            reference=True,
        )
        for name, metrics in study.references.items()
    ]


def grouped_table(
    before: Sequence[str],
    groups: Mapping[str, Mapping[str, str]],
    after: Sequence[str],
    lines: Sequence[Line],
    **given: Any,
) -> Table:
    """A table with metrics in groups between other columns."""
    headings = [heading for columns in groups.values() for heading in columns]
    over = [("", len(before)), *((name, len(columns)) for name, columns in groups.items())]
    if after:
        over.append(("", len(after)))
    return Table([*before, *headings, *after], lines, over, **given)


def caption(study: Gathered) -> str:
    """The units of such a table, and what of it chose."""
    units = "Accuracies, MIA and probe in %, gap in points: to the retrained model"
    if study.synthetic:
        return (
            f"{units}, on synthetic images to the ideal (0 and 100 %). Images of inverted "
            "generators chose; real images, where there are any, were only looked at."
        )
    by = ", by the gap with the probe" if study.probed else ""
    told = f"{units}. Validation images chose{by}; test images were only looked at."
    if "control" in study.references:
        told += " The control, an output of the original model switched off, forgets nothing."
    return told
