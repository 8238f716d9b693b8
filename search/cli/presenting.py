"""Tables as people want them, in files too, and what is said of saved weights."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from search.cli import options


def check_form(style: str, output: Path | None) -> None:
    from search.analysis.sheets import FORMS
    from trainables.errors import InvalidRequest, unknown

    if style not in ("text", *FORMS):
        raise InvalidRequest(unknown("format", style, ("text", *FORMS)))
    options.check_file("--output", output)


def present(sheet: Any, style: str, output: Path | None, table: Any) -> None:
    """Print a sheet in one of its forms, or write it to a file; text is `table`, and is shown in
    any case."""
    from rich.console import Console

    from search.analysis.sheets import FORMS
    from search.show import tables

    if style == "text":
        shown = Console(record=output is not None)
        tables.show(shown, table)
        text = shown.export_text() if output is not None else ""
    else:
        text = FORMS[style](sheet)
    if output is not None:
        with options.writing("--output", output):
            output.write_text(text, encoding="utf-8")
    elif style != "text":
        print(text, end="")


def check_any_complete(rows: Iterable[Any]) -> None:
    """Exit code 1 where no run at all is complete, with why the first is not."""
    from trainables.outcome import State

    first = None
    for row in rows:
        if row["state"] == State.COMPLETE:
            return
        first = first or row
    if first is not None:
        said = f"no run completed; the first is {first['state']}: {first['reason']}"
        print(said, file=sys.stderr)
    raise typer.Exit(1)


def written(values: dict[str, Any], without: list[str]) -> str:
    from search.analysis.sensitivity import plain

    left = {name: value for name, value in values.items() if name not in without}
    return " ".join(f"{name}={plain(value)}" for name, value in left.items()) or "nothing"


def file_of(path: Path | None, part: str | None) -> Path | None:
    """A file for each of several sweeps."""
    if path is None or part is None:
        return path
    return path.with_name(f"{path.stem}-{part}{path.suffix}")


def tell_saved(
    progress: Any,
    path: Path,
    metrics: Mapping[str, float | None],
    references: Mapping[str, Mapping[str, float | None]],
    warn: bool = True,
) -> None:
    """Where weights were written, and what they are worth."""
    from search.analysis import kept

    line, warning = kept.told(metrics, references)
    progress.say(f"the unlearned weights are in {path}: {line}")
    if warning is not None and warn:
        progress.say(warning)
