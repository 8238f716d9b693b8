"""Tables for people, and the JSON and TOML forms of a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import tomli_w
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.analysis.best import GAPS, figures, probed
from search.analysis.compare import Entry, sheet
from search.analysis.sheets import Sheet
from search.definition.names import cut
from search.store.results import Row
from search.store.scenarios import short
from search.store.status import Status, failed

CAPTIONS = {
    False: "forget, retain and MIA in %, gap in points to the retrained model; chosen on "
    "validation images, test images only looked at.",
    True: "Objective synthetic: chosen on images of inverted generators; forget and retain in %, "
    "gap in points to the ideal; real images, where there are any, only looked at.",
}


def hyperparameters(row: Row) -> dict[str, Any]:
    """The hyperparameters of a trial, by name; those that were set as they were set.

    A column may have been read as words for another study's sake; the JSON beside it never is.
    """
    columns = {
        k.removeprefix("p_"): v for k, v in row.items() if k.startswith("p_") and v is not None
    }
    return {**columns, **json.loads(row["params_json"])}


def number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def configurations(title: str, rows: Sequence[Row]) -> Table:
    """Trials side by side: validation figures, which chose them, then test figures."""
    table = Table(title=escape(title), title_justify="left", caption_justify="left")
    synthetic = {row.get("objective") == "synthetic" for row in rows}
    table.caption = " ".join(CAPTIONS[kind] for kind in sorted(synthetic))
    if any(map(probed, rows)):
        table.caption += " Chosen by the gap with the probe."
    table.add_column("study")
    table.add_column("dataset")
    relearned = any(row.get("m_anamnesis_index") is not None for row in rows)
    known = any(row.get("m_probe_gap") is not None for row in rows)
    headings = ["trial", "forget", "retain", "MIA", "gap", *(["with probe"] if known else [])]
    headings += ["test forget", "test retain"]
    for heading in [*headings, *(["AIN"] if relearned else []), "seconds"]:
        table.add_column(heading, justify="right")
    table.add_column("hyperparameters", overflow="fold")
    for row in rows:
        given = json.loads(row["params_json"])
        chosen_by = figures(row)
        cells = [
            escape(row["study"]),
            escape(short(row["dataset"])),
            str(row["number"]),
            number(chosen_by.forget),
            number(chosen_by.retain),
            number(row["m_mia"]),
            number(row["m_gap"] if probed(row) else chosen_by.gap),
            *([number(row.get("m_probe_gap"))] if known else []),
            number(row["m_test_forget_accuracy"]),
            number(row["m_test_retain_accuracy"]),
        ]
        if relearned:
            # Where relearning was given up at the cap, the index is only a bound.
            bound = "capped at " if row.get("m_relearn_capped") else ""
            cells.append(bound + number(row.get("m_anamnesis_index"), 2))
        cells.append(number(row["unlearn_seconds"], 2))
        cells.append(" ".join(f"{name}={_short(value)}" for name, value in given.items()))
        table.add_row(*map(escape, cells))
    return table


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def show(console: Console, table: Table) -> None:
    """Print a table, wider than the screen rather than cut off where nobody scrolls."""
    if not console.is_terminal:
        console.width = max(console.width, 200)
    console.print(table)


def as_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON array of objects."""
    plain = [
        {
            "study": row["study"],
            "number": row["number"],
            "method": row["method"],
            "dataset": row["dataset"],
            "model": row["model"],
            "forget": row["forget"],
            "forget_names": row.get("forget_names"),
            "seed": row["seed"],
            "hyperparameters": hyperparameters(row),
            "metrics": {
                k.removeprefix("m_"): v
                for k, v in row.items()
                if k.startswith("m_") and v is not None
            },
            "unlearn_seconds": row["unlearn_seconds"],
            "prepare_seconds": row["prepare_seconds"],
        }
        for row in rows
    ]
    return json.dumps(plain, indent=2)


def as_toml(row: Row, spec: Mapping[str, Any]) -> str:
    """A specification with every hyperparameter fixed, for `forgetune run` and `forgetune trial`.

    `spec` is the study's own, as in its study.json.
    """
    kept = ("method", "objective", "gap_terms", "mia_tolerance", "scenario", "inversion")
    fixed: dict[str, Any] = {
        "name": f"{cut(row['study'], 94)}-best",
        **{key: spec[key] for key in kept if spec.get(key) is not None},
        "trials": 1,
        "seed": spec.get("seed", 0),
        "pool_samples": spec.get("pool_samples", False),
        "space": hyperparameters(row),
    }
    fixed["scenario"] = {k: v for k, v in spec["scenario"].items() if v is not None}
    found, synthetic = figures(row), row.get("objective") == "synthetic"
    gap = GAPS["probe_gap" if probed(row) else "gap"]
    heading = (
        f"# trial {row['number']} of study {row['study']}: "
        f"forget {number(found.forget)} %, retain {number(found.retain)} %, "
        f"{gap} {number(found.gap)} ({'synthetic' if synthetic else 'validation'})\n"
        f"# that very trial: forgetune trial THIS_FILE --seed {row['seed']}\n"
    )
    return heading + tomli_w.dumps(fixed)


def comparison(entries: Sequence[Entry], repeated: str, remark: str = "") -> Table:
    """One line per method, means and deviations over its repeats; best values in bold; what was
    compared in a `remark` below."""
    found = sheet(entries, remark)
    lines = [
        replace(line, remark=line.remark or _configuration(entry))
        for entry, line in zip(entries, found.lines, strict=True)
    ]
    return sheet_table(
        replace(found, lines=lines),
        "Comparison on test images",
        f"mean ± standard deviation over {repeated}; configurations chosen by the mean of what "
        "steered the search; accuracies, MIA and probe in %, gaps in points to the retrained model",
        remarks="configuration",
    )


def _configuration(entry: Entry) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in entry.configuration.items())


def sheet_table(sheet: Sheet, title: str, caption: str, remarks: str = "remark") -> Table:
    """A sheet for people; best values in bold and starred, remarks on lines last if there are any,
    those on all of them below."""
    table = Table(
        title=escape(title),
        title_justify="left",
        caption=escape("\n".join([caption, *sheet.remarks])),
        caption_justify="left",
    )
    for heading in sheet.about:
        table.add_column(escape(heading))
    for heading in sheet.columns:
        table.add_column(escape(heading), justify="right")
    remarked = any(line.remark for line in sheet.lines)
    if remarked:
        table.add_column(remarks, overflow="fold")
    for line in sheet.lines:
        marked = [f"[bold]{cell}*[/bold]" if cell.best else str(cell) for cell in line.cells]
        last = [escape(line.remark)] if remarked else []
        table.add_row(*map(escape, line.labels), *marked, *last)
    return table


def status_table(found: Sequence[Status]) -> Table:
    """One line per study."""
    from search.show.progress import duration

    table = Table()
    for heading in ("study", "settled", "failed", "running", "best gap", "time left", "run by"):
        table.add_column(heading, justify="left" if heading in ("study", "run by") else "right")
    for item in found:
        target = "?" if item.target is None else str(item.target)
        best = (
            "-"
            if item.best is None
            else f"{figures(item.best).gap:.1f} (trial {item.best['number']})"
        )
        left = "-" if item.seconds_left is None else duration(item.seconds_left)
        table.add_row(
            escape(item.name),
            f"{item.settled}/{target}",
            str(failed(item.states)),
            str(item.running),
            best,
            left,
            item.holder or "nobody",
        )
    return table
