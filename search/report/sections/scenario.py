"""Studies of one scenario, compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from search.analysis.agreement import agreement
from search.analysis.best import by_gap, pareto, remarks
from search.analysis.compare import Entry, choose
from search.analysis.compare import sheet as comparison_sheet
from search.report.blocks import Block, Line, Plot, Section, Table, Text, amount, of_sheet, word
from search.report.figures import as_row, figure_cells, figure_columns, grouped_table
from search.report.gathered import MODELS, ClassMap, Gathered
from search.report.groups import STEERING, SYNTHETIC, Group
from search.report.plots import classes as class_plots
from search.report.plots import studies as plots
from search.report.sections.by_class import map_caption
from search.store.results import Row, joined
from search.store.scenarios import control_of
from trainables.outcome import State


def section(group: Group, maps: Sequence[ClassMap], number: int) -> Section:
    """The best of each study, repeats, and plots of all together; `maps` are the maps over classes
    that were made from any of them. `number` tells the sections of a page apart."""
    suffix = f"-{number}"
    blocks: list[Block] = []
    for on in STEERING:
        members = group.steered(on)
        if members:
            blocks.append(_best(members, group.references, on))
        inversions = {json.dumps(s.spec.get("inversion"), sort_keys=True) for s in members}
        if on == SYNTHETIC and len(inversions) > 1:
            told = "Generators of these studies were inverted otherwise: their synthetic images"
            blocks.append(Text(f"{told} differ, and so their gaps do not compare.", "warning"))
    control = next(filter(None, (control_of(study.described) for study in group.studies)), {})
    table = joined([study.table for study in group.studies])
    blocks += [Text(remark, "note") for remark in remarks(table, control)]
    blocks += _confirmed(group)
    for on, mark in STEERING.items():
        members = group.steered(on)
        if members:
            blocks += _plots(members, group.references, on, mark + suffix)
    blocks += _agreements(group)
    for index, found in enumerate(maps):
        classes = next(s.classes for s in group.studies if s.name == found.origins[0].study)
        figure = class_plots.class_map(found.targets, classes)
        blocks.append(Plot(f"classes-{index}{suffix}", figure, map_caption(found)))
    if not any(group.steered(on) for on in STEERING):
        blocks.insert(0, Text("No trial of these studies completed.", "warning"))
    return Section(f"scenario-{number}", group.title, blocks)


def _chosen(study: Gathered) -> Row:
    row: Row = by_gap(study.table).slice(0, 1).to_pylist()[0]
    return row


def _best(
    members: Sequence[Gathered], references: Mapping[str, Mapping[str, float]], on: str
) -> Table:
    chosen = {study.name: _chosen(study) for study in members}
    rows = [*chosen.values(), *(as_row(metrics) for metrics in references.values())]
    groups = figure_columns(rows, on == SYNTHETIC)
    lines = [
        Line(
            [
                word(name),
                word(row["method"]),
                amount(row["number"], 0),
                *figure_cells(row, groups),
                amount(row.get("unlearn_seconds"), 2),
            ]
        )
        for name, row in chosen.items()
    ]
    lines += [
        Line(
            [word(name), word(""), word(""), *figure_cells(as_row(metrics), groups), word("")],
            reference=True,
        )
        for name, metrics in references.items()
    ]
    return grouped_table(
        ["study", "method", "trial"],
        groups,
        ["seconds"],
        lines,
        caption=f"The best of each study that {on} steered, by gap. Accuracies, MIA and probe in "
        "%, gaps in points. Each is the best of many trials and so partly luck.",
    )


def _confirmed(group: Group) -> list[Block]:
    """The comparison of repeats, or what makes one."""
    entries: list[Entry] = []
    several_bases = False
    for study in group.studies:
        if study.confirmed:
            several_bases |= any(len(item.base_seeds) > 1 for item in study.confirmed)
            method = study.rows[0]["method"]
            entries.append(
                choose(
                    [
                        Entry(f"{method}, {item.origin}", item.rows, item.configuration)
                        for item in study.confirmed
                    ]
                )
            )
    if not entries:
        return [
            Text(
                "The best of a search is partly luck. `forgetune compare METHOD ...` repeats the "
                "best configurations with other seeds and compares their means.",
                "note",
            )
        ]
    references = [
        Entry(
            name,
            [{"state": State.COMPLETE, **as_row(metrics)}],
            reference=True,
            control=name == MODELS["control"],
        )
        for name, metrics in group.references.items()
    ]
    caption = (
        "Repeats of the best configurations with other seeds, on test images: mean ± standard "
        "deviation; chosen by the mean of what steered the search. Accuracies, MIA and probe in %, "
        "gaps in points, unlearning in seconds. The best of each column in bold."
        + (
            " Repeats are over several base models; the original and the retrained are the first "
            "one's."
            if several_bases
            else ""
        )
    )
    return [of_sheet(comparison_sheet([*references, *entries]), caption)]


def _plots(
    members: Sequence[Gathered],
    references: Mapping[str, Mapping[str, float]],
    on: str,
    suffix: str,
) -> list[Block]:
    rows: dict[str, Sequence[Row]] = {study.name: study.rows for study in members}
    fronts: dict[str, Sequence[Row]] = {
        study.name: pareto(study.table).to_pylist() for study in members
    }
    chosen: dict[str, Any] = {study.name: _chosen(study) for study in members}
    return [
        Plot(
            f"fronts{suffix}",
            plots.fronts(rows, fronts, references, on),
            "Lines: trials that no other of their study beats; pale: all other trials.",
        ),
        Plot(
            f"progress{suffix}",
            plots.progress(rows, on),
            "How many trials each needed. A study with more trials had more chances.",
        ),
        Plot(
            f"costs{suffix}",
            plots.costs(rows, chosen, on),
            "Preparation is not in the seconds. Ringed: the best of each study.",
        ),
    ]


def _agreements(group: Group) -> list[Block]:
    found = {study.name: agreement(study.table) for study in group.studies}
    lines = [
        Line(
            [
                word(name),
                amount(item.tau, 2),
                amount(item.low, 2),
                amount(item.high, 2),
                amount(item.trials, 0),
            ]
        )
        for name, item in found.items()
        if item is not None
    ]
    if not lines:
        return []
    columns = ["study", "Kendall's tau", "from", "to", "trials"]
    caption = (
        "Agreement of the synthetic gap with the real one: 1 the same order of trials, 0 none in "
        "common; ends of the 95 % bootstrap interval."
    )
    return [Table(columns, lines, caption=caption)]
