"""How the study stands, in few figures."""

from __future__ import annotations

import statistics

from search.analysis.best import GAPS, remarks
from search.report import trials
from search.report.beside import left_out
from search.report.blocks import Block, Cards, Line, Section, Text, word
from search.report.figures import (
    as_row,
    caption,
    figure_cells,
    figure_columns,
    grouped_table,
    reference_lines,
)
from search.report.gathered import Gathered
from search.show.progress import duration
from search.store.scenarios import control_of
from search.store.status import failed as count_failed
from trainables.outcome import State


def section(study: Gathered) -> Section:
    """The best configuration beside the models it is judged by, and what must be known of it."""
    best = study.best
    blocks: list[Block] = [*notices(study), Cards(_cards(study))]
    if best is not None:
        references = [as_row(metrics) for metrics in study.references.values()]
        groups = figure_columns([best, *references], study.synthetic)
        lines = [
            Line([word(f"unlearned (trial {best['number']})"), *figure_cells(best, groups)]),
            *reference_lines(study, groups, 1, 0),
        ]
        blocks.append(grouped_table(["model"], groups, [], lines, caption=caption(study)))
        blocks.append(Text(f"Its hyperparameters: `{trials.settings(best)}`"))
        control = control_of(study.described)
        blocks += [Text(told, "note") for told in remarks(study.table, control)]
    return Section("overview", "Overview", blocks)


def _cards(study: Gathered) -> list[tuple[str, str, str]]:
    """The best trial, how trials ended, and how long unlearning took."""
    best, counts = study.best, study.status.states
    complete = counts.get(State.COMPLETE, 0)
    seconds = [r["unlearn_seconds"] for r in study.rows if r.get("unlearn_seconds") is not None]
    cards = [
        (
            "trials",
            f"{complete} complete",
            f"{counts.get(State.PRUNED, 0)} pruned, {count_failed(counts)} failed"
            + (f"; {study.status.target} wanted" if study.status.target else ""),
        )
    ]
    if best is not None:
        found = trials.seen(best)
        to = "ideal, synthetic images" if study.synthetic else "retrained, validation"
        cards.insert(
            0,
            (
                f"best: trial {best['number']}",
                f"{GAPS['probe_gap' if study.probed else 'gap']} {_number(found.gap)} points",
                f"to the {to}; forget {_number(found.forget)} %, retain {_number(found.retain)} %",
            ),
        )
    if seconds:
        least, most = min(seconds), max(seconds)
        cards.append(
            (
                "unlearning, median",
                f"{statistics.median(seconds):.3g} s",
                f"{least:.3g} to {most:.3g} s over {trials.counted(len(seconds))}",
            )
        )
    return cards


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def notices(study: Gathered) -> list[Text]:
    """What a reader must know before anything else."""
    found, now, counts = [], study.status, study.status.states
    if now.holder is not None:
        left = "" if now.seconds_left is None else f", about {duration(now.seconds_left)} left"
        target = "?" if now.target is None else now.target
        found.append(
            f"This study is still running ({now.holder}): {now.settled} of {target} trials have "
            f"settled, {now.running} are running{left}. The page shows what there was when it was "
            "made."
        )
    elif now.target is not None and now.settled < now.target:
        found.append(
            f"This study is not finished: {now.settled} of {now.target} trials have settled, and "
            "nobody runs it. The same `forgetune run` continues it."
        )
    complete = counts.get(State.COMPLETE, 0)
    if complete == 0:
        ended = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        found.append(
            f"No trial completed ({ended}), so there is no best configuration and nothing to "
            "compare; the reasons are under States and failures."
        )
    elif complete == 1:
        found.append("Only one trial completed: nothing here can be compared with anything.")
    found += [*study.problems, *study.beside, *left_out([study])]
    return [Text(text, "warning") for text in found]
