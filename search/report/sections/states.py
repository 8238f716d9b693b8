"""How trials ended, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence

from search.report import trials
from search.report.blocks import Block, Cell, Line, Plot, Section, Table, word
from search.report.gathered import Gathered
from search.report.plots import times as time_plots
from search.store.results import Row


def section(study: Gathered) -> Section:
    """Trials by state, and the reasons of those that failed."""
    blocks: list[Block] = [Plot("states", time_plots.states(study.rows))]
    reasons = grouped_reasons(study.rows)
    if reasons:
        lines = [
            Line(
                [
                    word(state),
                    Cell(str(len(numbers)), len(numbers)),
                    word(text),
                    word(_few(numbers)),
                ]
            )
            for state, text, numbers in reasons
        ]
        caption = "Reasons that differ in numbers alone are one, told as the first trial had it."
        blocks.append(Table(["state", "trials", "reason", "which"], lines, caption=caption))
    return Section("states-and-failures", "States and failures", blocks)


def grouped_reasons(rows: Sequence[Row]) -> list[tuple[str, str, list[int]]]:
    """State, reason and trial numbers of trials that failed, the most frequent first; reasons are
    alike that differ in numbers alone."""
    groups: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for row in rows:
        if trials.failed(row):
            reason = row.get("reason") or "no reason given"
            key = (row["state"], re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", reason))
            groups.setdefault(key, (reason, []))[1].append(row["number"])
    found = [(state, reason, numbers) for (state, _), (reason, numbers) in groups.items()]
    return sorted(found, key=lambda item: -len(item[2]))


def _few(numbers: Sequence[int], most: int = 8) -> str:
    return ", ".join(map(str, numbers[:most])) + (", ..." if len(numbers) > most else "")
