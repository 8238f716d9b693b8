"""The Parquet store: one row per trial that settled.

`RESULTS/study=NAME/` holds `study.json` (what the study is), `journal.log` (Optuna's, which can be
rebuilt from the rows) and `trials/*.parquet`. A part appears whole or not at all. Any reader of
Parquet reads the folder; this one also names what it cannot read instead of failing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from search.definition.earlier import stored
from search.store.mirror import locate, place_of, put, remove
from search.store.schema import CLASS_FIELDS as CLASS_FIELDS
from search.store.schema import CORE, CURVE_FIELDS, LAST_FIELDS, schema_of
from search.store.schema import SCHEMA_VERSION as SCHEMA_VERSION
from search.store.schema import Row as Row
from trainables.errors import InvalidRequest, unknown
from trainables.outcome import CURVE


@dataclass(frozen=True)
class Damage:
    """A file that could not be read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def study_folder(results: Path, name: str) -> Path:
    """Where the study of this name lies."""
    return results / f"study={name}"


def study_names(results: Path) -> list[str]:
    """The studies in a results folder, sorted."""
    folders = (path for path in results.glob("study=*") if path.is_dir())
    return sorted(path.name.removeprefix("study=") for path in folders)


def part_name(row: Mapping[str, Any]) -> str:
    return f"part-{row['number']:06d}-{row['attempt']}.parquet"


def write_row(folder: Path, row: Row) -> None:
    """Write a row of the study in `folder` as a part of its own.

    Raises InvalidRequest if the folder cannot be written.
    """
    table = pa.Table.from_pylist([row], schema=schema_of(row))
    _write(folder / "trials" / part_name(row), table)


def _write(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, sink.getvalue().to_pybytes())
    except OSError as error:
        raise unusable(path.parent, error) from error


def unusable(folder: Path, error: OSError) -> InvalidRequest:
    """A results folder that cannot be written."""
    why = error.strerror or error
    return InvalidRequest(
        f"the results folder {place_of(folder)} cannot be written ({why}); what had "
        "settled is kept: make room or choose another with --results, and run the same command"
    )


def read_study(folder: Path) -> tuple[pa.Table, list[Damage]]:
    """All rows of one study, ordered by number, and the files that could not be read.

    A trial that stands in two files (a compaction was interrupted) counts once.
    """
    while True:
        try:
            tables, damaged = _read_parts(folder)
        except FileNotFoundError:
            continue  # a running study has just joined its parts: what they held is in the new one
        return _distinct(joined(tables)), damaged


def _read_parts(folder: Path) -> tuple[list[pa.Table], list[Damage]]:
    tables, damaged = [], []
    for path in sorted((folder / "trials").glob("*.parquet")):
        if path.name.startswith((".", "_")):
            continue
        try:
            table = pq.read_table(path, partitioning=None)
            if not table.select(CORE.names).schema.equals(CORE):
                raise KeyError("columns of ours in other types")
        except FileNotFoundError:
            if not path.is_symlink():
                raise
            damaged.append(Damage(path, "a link to a file that is not there"))
        except (pa.ArrowException, KeyError, OSError) as error:
            reason = " ".join(str(error).split())[:120]
            damaged.append(Damage(path, f"not a readable part ({reason})"))
        else:
            tables.append(table)
    return tables, damaged


def scan(results: Path | str, study: str | None = None) -> pa.Table:
    """All rows in a results folder (or of one study) as one Arrow table.

    `scan("results").to_pandas()` gives a data frame; a URI will do for a folder. Damaged files are
    left out; `examine` names them. Raises InvalidRequest if there is no such study.
    """
    return examine(results, study)[0]


def examine(results: Path | str, study: str | None = None) -> tuple[pa.Table, list[Damage]]:
    """What `scan` gives, and the files that cannot be read."""
    root = locate(results)
    names = [study] if study is not None else study_names(root)
    found = [read_study(existing(root, name)) for name in names]
    return joined([table for table, _ in found]), [item for _, bad in found for item in bad]


def curves(table: pa.Table) -> pa.Table:
    """The curves of the trials in `table`, long: a row for each phase (from 1) of each trial.

    Columns: study, number, phase, seconds (of unlearning so far) and the metrics of a curve.
    Trials without a curve have no rows.
    """
    first, *_ = lists = [table[name].combine_chunks() for name in CURVE_FIELDS.names]
    sizes = pc.fill_null(pc.list_value_length(first), 0).to_pylist()
    phases = [phase for size in sizes for phase in range(1, size + 1)]
    long = table.select(["study", "number"]).take(pc.list_parent_indices(first))
    long = long.append_column("phase", pa.array(phases, pa.int64()))
    for name, values in zip(CURVE, lists, strict=True):
        long = long.append_column(name, pc.list_flatten(values))
    return long


def existing(results: Path, name: str) -> Path:
    """The folder of a study that is there. Raises InvalidRequest, naming those that are."""
    folder = study_folder(results, name)
    # A name such as "x/../../study=y" would lead out of the results.
    if folder.parent != results or "\0" in name or ".." in folder.parts or not folder.is_dir():
        known = study_names(results)
        if not known:
            raise InvalidRequest(
                f"there are no studies in {place_of(results)}; `forgetune run` makes one"
            )
        raise InvalidRequest(unknown(f"study in {place_of(results)}", name, known))
    return folder


def compact(folder: Path) -> None:
    """Join the parts of a study into one file. Raises InvalidRequest if it cannot be written.

    The joined file is there before the parts go, so an interruption leaves every row at least
    once. Damaged parts stay where they are.
    """
    parts = sorted((folder / "trials").glob("*.parquet"))
    if len(parts) < 2:
        return
    table, damaged = read_study(folder)
    bad = {item.path for item in damaged}
    joined = folder / "trials" / f"compact-{uuid.uuid4().hex[:12]}.parquet"
    _write(joined, table)
    try:
        for path in parts:
            if path not in bad:
                remove(path)
    except OSError as error:
        raise unusable(folder, error) from error


def load_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None if the file is missing or holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def described(folder: Path) -> dict[str, Any]:
    """A study's study.json, its specification as `stored` gives it, if it is one; empty if it
    cannot be read."""
    found = load_json(folder / "study.json") or {}
    spec = found.pop("spec", None)
    return {**found, "spec": stored(spec)} if isinstance(spec, Mapping) else found


def timestamp(seconds: float) -> datetime:
    """A UTC time from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of several studies as one table, with every column of ours."""
    if not tables:
        return pa.schema([*CORE, *LAST_FIELDS]).empty_table()
    try:
        return _completed(pa.concat_tables(tables, promote_options="permissive"))
    except pa.ArrowTypeError:
        # Two methods use one name for a number and for a word: that column is read as words.
        kinds: dict[str, set[bool]] = {}
        for field in (field for table in tables for field in table.schema):
            if not pa.types.is_null(field.type):
                kinds.setdefault(field.name, set()).add(pa.types.is_string(field.type))
        mixed = {name for name, found in kinds.items() if len(found) > 1}
        worded = [_as_words(table, mixed) for table in tables]
        return _completed(pa.concat_tables(worded, promote_options="permissive"))


def _completed(table: pa.Table) -> pa.Table:
    """The table with every column of ours, also where an earlier version wrote all its files."""
    for field in LAST_FIELDS:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def _as_words(table: pa.Table, names: set[str]) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name in names:
            table = table.set_column(index, name, table[name].cast(pa.string()))
    return table


def _distinct(table: pa.Table) -> pa.Table:
    """One row per trial number: the last attempt; ordered by number."""
    ordered = table.sort_by([("number", "ascending"), ("attempt", "ascending")])
    numbers = ordered["number"].to_numpy()
    last = np.append(numbers[1:] != numbers[:-1], True)[: len(numbers)]
    return ordered if last.all() else ordered.filter(pa.array(last))


def rows_of(table: pa.Table) -> Iterable[Row]:
    """The rows of a table as dictionaries, hyperparameters typed as they were."""
    return table.to_pylist()  # type: ignore[no-any-return]
