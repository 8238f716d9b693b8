"""SQL over all results: DuckDB on the Parquet files, with nothing else in reach."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from search import results
from search.results import Damage
from trainables.errors import InvalidRequest
from trainables.files import write_whole
from trainables.outcome import CURVE

VIEWS = ("trials", "studies", "curves")

_LATEST = """
QUALIFY row_number() OVER (PARTITION BY study, number ORDER BY attempt DESC, finished DESC) = 1
"""
"""A trial that stands in two files, or that settled after all, counts once."""


class Query:
    """The views `trials` (a row per trial), `studies` (a row per study) and `curves` (a row per
    phase or epoch of each trial that has a curve) over a results folder.

    Raises InvalidRequest where there are no studies. `damaged` names the files that are left out.
    """

    def __init__(self, root: Path) -> None:
        if not results.study_names(root):
            results.existing(root, "")
        self.damaged: list[Damage] = []
        files: list[Path] = []
        many: list[Path] = []
        for name in results.study_names(root):
            found = self._readable(results.study_folder(root, name) / "trials")
            (files if len(found) == 1 else many).extend(found)
        self._connection = duckdb.connect()
        self._connection.execute(f"SET allowed_paths = {_listed([*files, *many])}")
        self._connection.execute("SET enable_external_access = false")
        self._create("trials", _union(files, many))
        self._create("studies", _STUDIES)
        self._create("curves", _CURVES)
        self._connection.execute("SET lock_configuration = true")

    def run(self, sql: str) -> pa.Table:
        """The rows that a single SELECT gives. Raises InvalidRequest, in one line, for anything
        else, and for what DuckDB cannot make sense of."""
        try:
            statements = self._connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise InvalidRequest("give one SELECT; results are only read here")
            return self._connection.sql(statements[0]).to_arrow_table()
        except duckdb.Error as error:
            raise InvalidRequest(f"the query failed: {_first_line(error)}") from None

    def schema(self) -> pa.Table:
        """The columns of each view: view, column, type."""
        return self._connection.sql(
            "SELECT table_name AS view, column_name AS column, data_type AS type"
            " FROM information_schema.columns ORDER BY table_name, ordinal_position"
        ).to_arrow_table()

    def _create(self, view: str, select: str) -> None:
        self._connection.execute(f"CREATE VIEW {view} AS {select}")

    def _readable(self, folder: Path) -> list[Path]:
        """Files whose footers can be read and have our columns."""
        found = []
        for path in sorted(folder.glob("*.parquet")):
            if path.name.startswith((".", "_")):
                continue
            try:
                names = set(pq.read_schema(path).names)
            except (pa.ArrowException, OSError) as error:
                self.damaged.append(Damage(path, _first_line(error)))
                continue
            if names >= set(results.CORE.names):
                found.append(path.absolute())
            else:
                self.damaged.append(Damage(path, "no columns of ours"))
        return found


_STUDIES = """
SELECT study, any_value(method) AS method, any_value(dataset) AS dataset,
       any_value(model) AS model, any_value(forget) AS forget,
       any_value(forget_names) AS forget_names, any_value(objective) AS objective,
       count(*) AS trials, count(*) FILTER (state = 'complete') AS complete,
       count(*) FILTER (state = 'pruned') AS pruned,
       count(*) FILTER (state NOT IN ('complete', 'pruned')) AS failed,
       min(m_gap) AS best_gap, min(m_synthetic_gap) AS best_synthetic_gap,
       sum(unlearn_seconds) AS unlearn_seconds, min(started) AS started, max(finished) AS finished
FROM trials GROUP BY study ORDER BY study
"""

_CURVES = """
SELECT study, number, generate_subscripts(curve_seconds, 1) AS phase,
       {columns}
FROM trials WHERE curve_seconds IS NOT NULL
""".format(columns=", ".join(f"unnest(curve_{name}) AS {name}" for name in CURVE))


def write(table: pa.Table, style: str, output: Path | None) -> None:
    """Write a table as "csv", "json" (an array of objects) or "parquet", to a file or, but for
    Parquet, to standard output.

    Raises InvalidRequest if it cannot be written.
    """
    content = pa.BufferOutputStream()
    if style == "csv":
        pa.csv.write_csv(table, content)
    elif style == "parquet":
        pq.write_table(table, content)
    else:
        content.write(json.dumps(table.to_pylist(), indent=2, default=str).encode() + b"\n")
    data = content.getvalue().to_pybytes()
    if output is None and style == "parquet":
        raise InvalidRequest("Parquet is no text: give a file (--output)")
    if output is None:
        sys.stdout.buffer.write(data)
        return
    try:
        write_whole(output, data)
    except OSError as error:
        raise InvalidRequest(f"--output {output}: {error.strerror or error}") from None


def _union(files: list[Path], many: list[Path]) -> str:
    """The rows of studies of one file each as they are, of others the latest of each trial; all of
    our columns, whatever the files have."""
    empty = ", ".join(
        f"NULL::{_TYPES[field.type]} AS {field.name}"
        for field in [*results.CORE, *results.LAST_FIELDS]
    )
    parts = [f"SELECT {empty} WHERE false"]
    for paths, rule in ((files, ""), (many, _LATEST)):
        if paths:
            parts.append(
                f"SELECT * FROM read_parquet({_listed(paths)}, union_by_name = true,"
                f" hive_partitioning = false) {rule}"
            )
    return " UNION ALL BY NAME ".join(f"({part})" for part in parts)


def _listed(paths: list[Path]) -> str:
    quoted = ("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"[{', '.join(quoted)}]"


_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.list_(pa.float64()): "DOUBLE[]",
    pa.list_(pa.string()): "VARCHAR[]",
}


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())[:300]
