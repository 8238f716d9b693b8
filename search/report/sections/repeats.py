"""Whether the best was luck."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from search.analysis.sheets import cell
from search.report import trials
from search.report.blocks import Cell, Line, Plot, Section, Text, word
from search.report.figures import caption, figure_columns, grouped_table
from search.report.gathered import Confirmed, Gathered
from search.report.plots import points
from search.report.plots import repeats as repeat_plots
from search.store.results import Row
from trainables.outcome import State


def section(study: Gathered) -> Section | None:
    """Repeats of trials with other seeds, or what makes them; none without a best trial."""
    best = study.best
    if not study.confirmed:
        if not study.spec or best is None:
            return None
        return Section(
            "confirmed",
            "Repeats of the best",
            [
                Text(
                    "The best of a search is partly luck. `forgetune compare "
                    f"{shlex.quote(study.spec['method'])}` repeats the best configurations with "
                    "other seeds.",
                    "note",
                )
            ],
        )
    lines, plotted = [], {}
    groups = figure_columns([r for c in study.confirmed for r in c.rows], study.synthetic)
    searched = {row["number"]: row for row in study.rows}
    for item in study.confirmed:
        row = searched[item.origin.trial]
        name = f"trial {item.origin.trial}"
        lines.append(_repeated(name, item, groups))
        gaps = [trials.seen(r).gap for r in item.rows if r["state"] == State.COMPLETE]
        plotted[name] = ([gap for gap in gaps if gap is not None], trials.seen(row).gap)
    table = grouped_table(
        ["configuration"],
        groups,
        ["seconds", "repeats"],
        lines,
        caption="Mean ± standard deviation over repeats with other seeds than the search's"
        + (
            " and over base models. "
            if any(len(item.base_seeds) > 1 for item in study.confirmed)
            else ". "
        )
        + caption(study),
    )
    plot = Plot(
        "repeats",
        repeat_plots.repeats(plotted, points.gap_title(study.rows)),
        "Where the diamond lies below the mean, the search was lucky.",
    )
    told = [
        Text(f"{name}: `{trials.written(item.configuration)}`")
        for name, item in zip(plotted, study.confirmed, strict=True)
    ]
    numbers = [item.origin.trial for item in study.confirmed]
    if best is not None and best["number"] in numbers:
        return Section("confirmed", "Repeats of the best", [table, *told, plot])
    few = f"Repeats of trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    if best is not None:
        note = f"The best of the study, trial {best['number']}, has not been repeated."
        told.insert(0, Text(note, "note"))
    return Section("confirmed", few, [table, *told, plot])


def _repeated(name: str, item: Confirmed, groups: Mapping[str, Mapping[str, str]]) -> Line:
    complete = [row for row in item.rows if row["state"] == State.COMPLETE]
    metrics = [f"m_{metric}" for columns in groups.values() for metric in columns.values()]
    cells = [_mean(complete, column) for column in metrics]
    ended = len(item.rows) - len(complete)
    return Line(
        [
            word(name),
            *cells,
            _mean(complete, "unlearn_seconds", 2),
            Cell(f"{len(item.rows)}" + (f" ({ended} failed)" if ended else ""), len(item.rows)),
        ]
    )


def _mean(rows: Sequence[Row], column: str, digits: int = 1) -> Cell:
    found = cell([row[column] for row in rows if row.get(column) is not None], digits)
    return Cell(str(found), found.mean)
