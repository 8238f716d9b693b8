"""Where the time went."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from search.report import trials
from search.report.blocks import Block, Line, Plot, Section, Table, amount, word
from search.report.gathered import Gathered
from search.report.plots import times as time_plots
from search.show.progress import duration


def section(study: Gathered) -> Section:
    """Seconds by trial and in all."""
    blocks: list[Block] = []
    if any(row.get(column) is not None for row in study.rows for column in time_plots.TIMES):
        blocks.append(Plot("times", time_plots.times(study.rows)))
    lines = []
    built = study.described.get("preparation")
    if isinstance(built, Mapping) and built:
        own = {name: s for name, s in built.items() if isinstance(s, int | float)}
        found = len(built) - len(own)
        what = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in own.items()) or "nothing"
        remark = f"built: {what}" + (f"; {found} were there already" if found else "")
        lines.append(_total("preparation for this study", sum(own.values()), remark))
    for column, (name, _) in time_plots.TIMES.items():
        known = [row[column] for row in study.rows if row.get(column) is not None]
        if known:
            remark = f"{trials.counted(len(known))}, median {statistics.median(known):.3g} s"
            if column == "queue_seconds":
                remark += "; one always waits for each worker, so that no worker waits"
            lines.append(_total(name, sum(known), remark))
    begun = min(row["started"] for row in study.rows)
    ended = max(row["finished"] for row in study.rows)
    lines.append(
        _total(
            "from the first trial's start to the last one's end",
            (ended - begun).total_seconds(),
            "by the clock, pauses included; all others are added up over trials",
        )
    )
    blocks.append(Table(["what", "seconds", "time", "remark"], lines))
    figure = time_plots.timeline(study.rows)
    if figure is not None:
        caption = "A bar for each trial; those above each other ran at the same time."
        blocks.append(Plot("timeline", figure, caption))
    return Section("time", "Where the time went", blocks)


def _total(name: str, seconds: float, remark: str) -> Line:
    return Line([word(name), amount(seconds), word(duration(seconds)), word(remark)])
