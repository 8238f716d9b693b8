"""A table as others take it: text for people, CSV, JSON, Parquet."""

from __future__ import annotations

import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from trainables.artifacts.files import write_whole
from trainables.errors import InvalidRequest


def write(table: pa.Table, style: str, output: Path | None) -> None:
    """Write a table as "csv", "json" (an array of objects) or "parquet", to a file or, but for
    Parquet, to standard output.

    In CSV, lists and the like are JSON; in JSON, NaN and infinities are null. Raises
    InvalidRequest if it cannot be written.
    """
    content = pa.BufferOutputStream()
    if style == "csv":
        pa.csv.write_csv(_flat(table), content)
    elif style == "parquet":
        pq.write_table(table, content)
    else:
        columns = [map(plain, column) for column in _values(table)]
        rows = [
            dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)
        ]
        content.write(json.dumps(rows, indent=2, allow_nan=False).encode() + b"\n")
    data = content.getvalue().to_pybytes()
    if output is None and style == "parquet":
        raise InvalidRequest("Parquet is no text: give a file (--output)")
    if output is None:
        sys.stdout.write(data.decode())
        return
    try:
        write_whole(output, data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequest(f"--output {output}: {reason}") from None


def cells(table: pa.Table) -> list[list[str]]:
    """The rows as people read them."""
    return [[_cell(value) for value in row] for row in zip(*_values(table), strict=True)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(plain(value)) if isinstance(value, list | dict) else str(value)


def _values(table: pa.Table) -> list[list[Any]]:
    """The values of each column. Maps are dictionaries where their keys can be keys."""
    found = []
    for column in table.columns:
        try:
            found.append(column.to_pylist(maps_as_pydicts="lossy"))
        except TypeError:  # such as lists, which stay pairs
            found.append(column.to_pylist())
    return found


def plain(value: Any) -> Any:
    """A value as JSON has it: without NaN and infinities, whole numbers as such."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _flat(table: pa.Table) -> pa.Table:
    """The table with JSON for lists and the like, which CSV does not have."""
    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            values = [
                None if value is None else json.dumps(plain(value))
                for value in _values(table.select([index]))[0]
            ]
            table = table.set_column(index, field.name, pa.array(values, pa.string()))
    return table
