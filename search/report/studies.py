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
from search.analysis.best import by_gap, pareto, remarks
from search.analysis.compare import Entry, choose
from search.analysis.compare import sheet as comparison_sheet
from search.report.blocks import Block, Line, Plot, Section, Table, Text, amount, of_sheet, word
from search.report.figures import as_row, figure_cells, figure_columns, grouped_table
from search.report.gather import MODELS, ClassMap, Gathered, gather, joined_maps, left_out
from search.report.plots import designs as design_plots
from search.report.plots import studies as plots
from search.report.sections.by_class import map_caption, shown_maps
from search.store.mirror import place_of
from search.store.results import Row, existing, joined
from search.store.scenarios import apart, control_of, identity
from search.store.status import failed
from trainables.errors import InvalidRequest
from trainables.outcome import State

SYNTHETIC = "synthetic images"
VALIDATION = "validation"
PROBED = "validation with the probe"
STEERING = {VALIDATION: "", PROBED: "-probed", SYNTHETIC: "-synthetic"}
"""What a study's best is chosen by, and what marks plots of such studies; gaps of one kind say
nothing of gaps of another."""


def steering(study: Gathered) -> str:
    """What the study's best is chosen by."""
    return SYNTHETIC if study.synthetic else PROBED if study.probed else VALIDATION


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
        """Metrics of the original and the retrained model and of the control, which all share."""
        return next((study.references for study in self.studies if study.references), {})

    def steered(self, on: str) -> list[Gathered]:
        """Those that were steered by images of this kind and have a complete trial."""
        return [
            study
            for study in self.studies
            if steering(study) == on and study.status.states.get(State.COMPLETE)
        ]


def by_scenario(studies: Sequence[Gathered]) -> list[Group]:
    """The studies in groups of one scenario each, in the order of the first of each."""
    groups: dict[str, list[Gathered]] = {}
    for study in studies:
        groups.setdefault(json.dumps(_identity(study), sort_keys=True), []).append(study)
    members = list(groups.values())
    firsts = [_identity(own[0]) for own in members]
    return [Group(_title(own[0], firsts), own) for own in members]


def _identity(study: Gathered) -> dict[str, Any]:
    described = study.described if study.spec else {}
    return identity(study.name, described, study.rows[0], steering=False)


def _title(first: Gathered, scenarios: Sequence[Mapping[str, Any]]) -> str:
    """Dataset, model, forget classes, and what else sets this scenario apart from the others."""
    if not first.spec:
        return f"{first.name} (scenario not known)"
    names = [first.classes[label] for label in first.forget if label < len(first.classes)]
    row, mine = first.rows[0], _identity(first)
    alike = [other for other in scenarios if _shown(other) == _shown(mine)]
    told = f"{row['dataset']}, {row['model']}"
    forgotten = f"forgetting class {', '.join(names) or row['forget']}"
    return ", ".join([told, forgotten, *apart(mine, alike)])


def _shown(scenario: Mapping[str, Any]) -> list[Any]:
    return [scenario.get(key) for key in ("dataset", "model", "forget")]


def comparison_sections(studies: Sequence[Gathered], problems: Sequence[str]) -> list[Section]:
    """An overview, and a section for each scenario."""
    groups = by_scenario(studies)
    blocks: list[Block] = [Text(f"Left out: {problem}", "warning") for problem in problems]
    blocks += [
        Text(f"{study.name}: {problem}", "warning")
        for study in studies
        for problem in study.problems
    ]
    beside = [sentence for study in studies for sentence in study.beside]
    blocks += [Text(told, "warning") for told in dict.fromkeys([*beside, *left_out(studies)])]
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
    # One run may have been made from several of the studies, also of several scenarios.
    maps = joined_maps(
        [found for group in groups for s in group.studies for found in shown_maps(s)]
    )
    for index, group in enumerate(groups, start=1):
        names = {study.name for study in group.studies}
        own = [found for found in maps if found.origins[0].study in names]
        made = _of_group(group, own, f"-{index}")
        sections.append(Section(f"scenario-{index}", group.title, made))
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
                        word(steering(study)),
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


def _of_group(group: Group, maps: Sequence[ClassMap], suffix: str) -> list[Block]:
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
    for number, found in enumerate(maps):
        classes = next(s.classes for s in group.studies if s.name == found.origins[0].study)
        figure = design_plots.class_map(found.targets, classes)
        blocks.append(Plot(f"classes-{number}{suffix}", figure, map_caption(found)))
    if not any(group.steered(on) for on in STEERING):
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
