"""The sections of a page that compares studies. Pure functions from what was gathered, but for the
gathering itself.

Studies of different scenarios stand in different sections: the retrained model of one says nothing
of another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.analysis.agreement import agreement
from search.analysis.best import by_gap, pareto
from search.analysis.compare import Entry, choose
from search.analysis.compare import sheet as comparison_sheet
from search.mirror import place_of
from search.report.blocks import Block, Line, Plot, Section, Table, Text, amount, of_sheet, word
from search.report.gather import Gathered, gather
from search.report.plots import designs as design_plots
from search.report.plots import studies as plots
from search.report.study import as_row, figure_cells, figure_columns, grouped_table
from search.results import Row, existing
from search.status import failed
from trainables.errors import InvalidRequest
from trainables.outcome import State

SYNTHETIC = "synthetic images"
VALIDATION = "validation"


def gather_all(root: Path, names: Sequence[str]) -> tuple[list[Gathered], list[str]]:
    """The studies of these names in which trials settled, and a sentence for each that has none.

    Raises InvalidRequest for one that is not there and if nothing has settled in any.
    """
    for name in names:
        existing(root, name)
    found, problems = [], []
    for name in dict.fromkeys(names):
        try:
            found.append(gather(root, name))
        except InvalidRequest as error:
            problems.append(str(error))
    if not found:
        raise InvalidRequest(
            "; ".join(problems) or f"there are no studies in {place_of(root)} to compare"
        )
    return found, problems


@dataclass(frozen=True)
class Group:
    """Studies of one scenario."""

    title: str
    studies: Sequence[Gathered]

    @property
    def references(self) -> dict[str, Mapping[str, float]]:
        """Metrics of the original and the retrained model, which all of them share."""
        return next((study.references for study in self.studies if study.references), {})

    def steered(self, on: str) -> list[Gathered]:
        """Those that were steered by images of this kind and have a complete trial."""
        return [
            study
            for study in self.studies
            if study.synthetic == (on == SYNTHETIC) and study.status.states.get(State.COMPLETE)
        ]


def by_scenario(studies: Sequence[Gathered]) -> list[Group]:
    """The studies in groups of one scenario each, in the order of the first of each."""
    groups: dict[str, list[Gathered]] = {}
    for study in studies:
        # Without a specification nothing is known of the scenario but what the rows say.
        scenario = study.spec.get("scenario") or [study.name, study.rows[0]["forget"]]
        groups.setdefault(json.dumps(scenario, sort_keys=True), []).append(study)
    members = list(groups.values())
    return [Group(_title(own, [m[0] for m in members]), own) for own in members]


def _title(own: Sequence[Gathered], firsts: Sequence[Gathered]) -> str:
    """Dataset, model, forget classes, and what else sets this scenario apart from the others."""
    first = own[0]
    if not first.spec:
        return f"{first.name} (scenario not known)"
    scenario = first.spec["scenario"]
    names = [first.classes[label] for label in first.forget if label < len(first.classes)]
    shown = ("dataset", "model", "forget")
    parts = [
        f"{first.rows[0]['dataset']}, {first.rows[0]['model']}",
        f"forgetting class {', '.join(names) or first.rows[0]['forget']}",
    ]
    others = [study.spec["scenario"] for study in firsts if study.spec]
    parts += [
        f"{key} {value}"
        for key, value in scenario.items()
        if key not in shown and any(other.get(key) != value for other in others)
    ]
    return ", ".join(parts)


def comparison_sections(studies: Sequence[Gathered], problems: Sequence[str]) -> list[Section]:
    """An overview, and a section for each scenario."""
    groups = by_scenario(studies)
    blocks: list[Block] = [Text(f"Left out: {problem}", "warning") for problem in problems]
    blocks += [
        Text(f"{study.name}: {problem}", "warning")
        for study in studies
        for problem in study.problems
    ]
    running = [study.name for study in studies if study.status.holder is not None]
    if running:
        blocks.append(Text(f"Still running: {', '.join(running)}.", "warning"))
    if len(groups) > 1:
        blocks.append(
            Text(
                f"These studies are of {len(groups)} scenarios. Each scenario has a section of its "
                "own, with its own retrained model; figures are not comparable between them.",
                "note",
            )
        )
    blocks.append(_overview(groups))
    sections = [Section("overview", "Studies", blocks)]
    for index, group in enumerate(groups, start=1):
        sections.append(Section(f"scenario-{index}", group.title, [*_of_group(group, f"-{index}")]))
    return sections


def _overview(groups: Sequence[Group]) -> Table:
    lines = []
    for group in groups:
        for study in group.studies:
            counts = study.status.states
            lines.append(
                Line(
                    [
                        word(study.name),
                        word(study.rows[0]["method"]),
                        word(group.title),
                        word(SYNTHETIC if study.synthetic else VALIDATION),
                        amount(study.status.settled, 0),
                        amount(counts.get(State.COMPLETE, 0), 0),
                        amount(counts.get(State.PRUNED, 0), 0),
                        amount(failed(counts), 0),
                        amount(sum(r.get("unlearn_seconds") or 0.0 for r in study.rows)),
                    ]
                )
            )
    columns = ["study", "method", "scenario", "steered by", "trials", "complete", "pruned"]
    return Table([*columns, "failed", "seconds of unlearning"], lines)


def _of_group(group: Group, suffix: str) -> list[Block]:
    blocks: list[Block] = []
    for on in (VALIDATION, SYNTHETIC):
        members = group.steered(on)
        if members:
            blocks.append(_best(members, group.references, on))
    blocks += _confirmed(group)
    for on, mark in ((VALIDATION, ""), (SYNTHETIC, "-synthetic")):
        members = group.steered(on)
        if members:
            blocks += _plots(members, group.references, on, mark + suffix)
    blocks += _agreements(group)
    for study in group.studies:
        targets = [target for target in study.targets if target.label < len(study.classes)]
        if targets:
            figure = design_plots.class_map(targets, study.classes)
            caption = f"{study.name}: a line for each forgotten class (framed), test images."
            blocks.append(Plot(f"classes-{study.name}{suffix}", figure, caption))
    if not any(group.steered(on) for on in (VALIDATION, SYNTHETIC)):
        blocks.insert(0, Text("No trial of these studies completed.", "warning"))
    return blocks


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
        caption=f"The best of each study that {on} steered, by gap. Accuracies and MIA in %, "
        "gap in points. Each is the best of many trials and so partly luck.",
    )


def _confirmed(group: Group) -> list[Block]:
    """The comparison of repeats, or what makes one."""
    entries: list[Entry] = []
    known: list[set[str]] = []
    several_bases = False
    for study in group.studies:
        runs = {row["study"] for item in study.confirmed for row in item.rows}
        if not runs or runs in known:  # two studies of a method and a scenario have the same
            continue
        known.append(runs)
        several_bases |= any(len(item.base_seeds) > 1 for item in study.confirmed)
        method = study.rows[0]["method"]
        taken = any(entry.name == method for entry in entries)
        name = study.name if taken else method
        entries.append(
            choose([Entry(name, item.rows, item.configuration) for item in study.confirmed])
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
        Entry(name, [{"state": State.COMPLETE, **as_row(metrics)}], reference=True)
        for name, metrics in group.references.items()
    ]
    caption = (
        "Repeats of the best configurations with other seeds, on test images: mean ± standard "
        "deviation; chosen by the mean of what steered the search. Accuracies and MIA in %, gap in "
        "points, unlearning in seconds. The best of each column in bold."
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
