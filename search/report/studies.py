"""A page that compares studies, as sections.

Studies of different scenarios stand in different sections: the retrained model of one says nothing
of another.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.report.beside import left_out
from search.report.blocks import Block, Line, Section, Table, Text, amount, word
from search.report.gathered import Gathered
from search.report.groups import Group, by_scenario, steering
from search.report.sections import scenario
from search.report.sections.by_class import shown_maps
from search.report.together import joined_maps
from search.store.status import failed
from trainables.outcome import State


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
        sections.append(scenario.section(group, own, index))
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
