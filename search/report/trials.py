"""What a page says of a trial. Pure functions over rows."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from search.analysis.best import figures, probed
from search.report.style import plain
from search.show.tables import hyperparameters
from search.store.results import Row
from trainables.outcome import State


class Seen(NamedTuple):
    """What is known of a trial of what steered its study: percent, percent, points."""

    forget: float | None = None
    retain: float | None = None
    gap: float | None = None


def synthetic(row: Row) -> bool:
    """Whether images of inverted generators steered the trial's study."""
    return row.get("objective") == "synthetic"


def seen(row: Row) -> Seen:
    """The figures that steer: at the end of a complete trial, at the last phase of a pruned one."""
    if row["state"] == State.COMPLETE:
        return Seen(*map(finite, figures(row)))
    if row["state"] != State.PRUNED:
        return Seen()
    prefix = "curve_synthetic_" if synthetic(row) else "curve_"
    gap = "probe_gap" if probed(row) else "gap"
    curves = (row.get(prefix + name) for name in ("forget_accuracy", "retain_accuracy", gap))
    return Seen(*(finite(curve[-1]) if curve else None for curve in curves))


def finite(value: float | None) -> float | None:
    """The value, or None for what is no number: JSON has no others."""
    return value if value is not None and math.isfinite(value) else None


def failed(row: Row) -> bool:
    """Whether a trial ended in another way than complete or pruned."""
    return row["state"] not in (State.COMPLETE, State.PRUNED)


def given(row: Row) -> dict[str, Any]:
    """The hyperparameters that were set; the others have their defaults."""
    found: dict[str, Any] = json.loads(row["params_json"])
    return found


def varying(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """The hyperparameters that are not alike in all trials, with the value of each trial (None
    where it has none)."""
    all_of_them = [hyperparameters(row) for row in rows]
    names = dict.fromkeys(name for values in all_of_them for name in values)
    columns = {name: [values.get(name) for values in all_of_them] for name in sorted(names)}
    return {name: values for name, values in columns.items() if len(set(values)) > 1}


def short(value: Any) -> str:
    """A value of a hyperparameter as people write it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings(row: Row) -> str:
    """The hyperparameters that were set, in one line."""
    return written(given(row))


def written(values: Mapping[str, Any]) -> str:
    """Hyperparameters in one line."""
    return " ".join(f"{name}={short(value)}" for name, value in values.items())


def label(row: Row) -> str:
    """What a plot shows of a trial under the pointer, in Plotly's HTML."""
    lines = [f"<b>trial {row['number']}</b>, {plain(row['state'])}"]
    found = seen(row)
    if found.gap is not None:
        on = "synthetic images" if synthetic(row) else "validation"
        when = f"{on}, last phase" if row["state"] == State.PRUNED else on
        lines.append(f"{_accuracies(found.forget, found.retain, found.gap)} ({when})")
    tested = [finite(row.get(f"m_test_{name}")) for name in _ACCURACIES]
    if None not in tested:
        lines.append(f"{_accuracies(*tested)} (test, only looked at)")
    lines += [f"{plain(name)} = {plain(short(value))}" for name, value in given(row).items()]
    if row.get("unlearn_seconds") is not None:
        lines.append(f"unlearning {row['unlearn_seconds']:.2f} s")
    if row.get("reason"):
        lines += map(plain, textwrap.wrap(row["reason"], 70, max_lines=4, placeholder=" ..."))
    return "<br>".join(lines)


_ACCURACIES = ("forget_accuracy", "retain_accuracy", "gap")


def _accuracies(*values: float | None) -> str:
    forget, retain, gap = ("-" if value is None else f"{value:.1f}" for value in values)
    return f"forget {forget} %, retain {retain} %, gap {gap} points"


def best_so_far(rows: Sequence[Row]) -> list[float | None]:
    """For each of the rows, in their order, the smallest gap (points) of a complete trial yet."""
    best: float | None = None
    course = []
    for row in rows:
        gap = seen(row).gap if row["state"] == State.COMPLETE else None
        if gap is not None:
            best = gap if best is None else min(best, gap)
        course.append(best)
    return course


def counted(number: int) -> str:
    """So many trials, in words."""
    return "1 trial" if number == 1 else f"{number} trials"
