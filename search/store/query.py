"""SQL over all results: DuckDB on the Parquet files, with nothing else in reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from search.store import results, schema
from search.store.results import Damage
from trainables.errors import InvalidRequest
from trainables.outcome import CURVE

VIEWS = ("trials", "studies", "curves")

_LATEST = """
QUALIFY row_number() OVER (PARTITION BY study, number ORDER BY attempt DESC, finished DESC) = 1
"""
"""A trial that stands in two files, or that settled after all, counts once."""

_STUDIES = """
SELECT study, any_value(method) AS method, any_value(dataset) AS dataset,
       any_value(model) AS model, any_value(forget) AS forget,
       any_value(forget_names) AS forget_names, any_value(objective) AS objective,
       any_value(gap_terms) AS gap_terms,
       count(*) AS trials, count(*) FILTER (state = 'complete') AS complete,
       count(*) FILTER (state = 'pruned') AS pruned,
       count(*) FILTER (state NOT IN ('complete', 'pruned')) AS failed,
       min(m_gap) AS best_gap, min(m_probe_gap) AS best_probe_gap,
       min(m_synthetic_gap) AS best_synthetic_gap,
       sum(unlearn_seconds) AS unlearn_seconds, min(started) AS started, max(finished) AS finished
FROM trials GROUP BY study ORDER BY study
"""

_CURVES = """
SELECT study, number, generate_subscripts(curve_seconds, 1) AS phase,
       {columns}
FROM trials WHERE curve_seconds IS NOT NULL
""".format(columns=", ".join(f"unnest(curve_{name}) AS {name}" for name in CURVE))


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
        paths = [str(path) for path in (*files, *many)]
        allowed = [*paths, *(set(map(_pattern, paths)) - {*paths})]
        self._connection.execute(f"SET allowed_paths = {_listed(allowed)}")
        self._connection.execute("SET enable_external_access = false")
        try:
            self._create("trials", _union(files, many))
        except duckdb.Error as error:  # a backslash and a `*` in one path are beyond it
            raise InvalidRequest(f"{root} cannot be queried: {_first_line(error)}") from None
        self._create("studies", _STUDIES)
        self._create("curves", _CURVES)
        self._connection.execute("SET lock_configuration = true")

    def run(self, sql: str, *, as_text: bool = False) -> pa.Table:
        """The rows that a single SELECT gives.

        What Arrow and Parquet do not know (intervals, bits, unions, ...) is DuckDB's text for it;
        with `as_text` so are times and bytes, which Python and JSON know in part only. Columns of
        one name are numbered. Raises InvalidRequest, in one line, for anything but a SELECT, and
        for what DuckDB cannot make sense of.
        """
        try:
            sql.encode()  # DuckDB tells what is no text in lines of its own
            statements = self._connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise InvalidRequest("give one SELECT; results are only read here")
            relation = self._connection.sql(statements[0])
            if relation is None:
                raise InvalidRequest("give one SELECT; results are only read here")
            return relation.project(_carried(relation, as_text)).to_arrow_table()
        except (duckdb.Error, pa.ArrowException, UnicodeError) as error:
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
            if names >= set(schema.CORE.names):
                found.append(path.absolute())
            else:
                self.damaged.append(Damage(path, "no columns of ours"))
        return found


_NATIVE = {
    *("boolean", "tinyint", "smallint", "integer", "bigint", "hugeint"),
    *("utinyint", "usmallint", "uinteger", "ubigint"),
    *("float", "double", "decimal", "varchar", "enum", "uuid"),
}
"""Types of DuckDB that Arrow, Parquet, Python and JSON can all carry."""

_TIMES_AND_BYTES = {
    *("date", "time", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"),
    *("timestamp with time zone", "blob"),
}


def _carried(relation: duckdb.DuckDBPyRelation, as_text: bool) -> str:
    """The columns of a relation in types that can leave DuckDB, each under a name of its own."""
    kept = _NATIVE if as_text else _NATIVE | _TIMES_AND_BYTES
    columns = []
    for place, (name, kind) in enumerate(
        zip(_distinct(relation.columns), relation.types, strict=True), start=1
    ):
        wanted = _type(kind, kept)
        value = f"#{place}" if wanted == str(kind) else f"CAST(#{place} AS {wanted})"
        columns.append(f"{value} AS {_quoted(name)}")
    return ", ".join(columns)


def _type(kind: Any, kept: set[str]) -> str:
    """A type with VARCHAR for every part of it that is not `kept`."""
    if kind.id == "list":
        return f"{_type(kind.children[0][1], kept)}[]"
    if kind.id == "array":
        (_, part), (_, size) = kind.children
        return f"{_type(part, kept)}[{size}]"
    if kind.id == "struct":
        parts = (f"{_quoted(name)} {_type(part, kept)}" for name, part in kind.children)
        return f"STRUCT({', '.join(parts)})"
    if kind.id == "map":
        return f"MAP({', '.join(_type(part, kept) for _, part in kind.children)})"
    return str(kind) if kind.id in kept else "VARCHAR"


def _distinct(names: list[str]) -> list[str]:
    """The names, with numbers on those that were there before: a, a_1, a_2."""
    seen: Counter[str] = Counter()
    found: list[str] = []
    for name in names:
        wanted = name
        while wanted in found or (wanted != name and wanted in names):
            seen[name] += 1
            wanted = f"{name}_{seen[name]}"
        found.append(wanted)
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _union(files: list[Path], many: list[Path]) -> str:
    """The rows of studies of one file each as they are, of others the latest of each trial; all of
    our columns, whatever the files have."""
    empty = ", ".join(
        f"NULL::{_TYPES[field.type]} AS {field.name}"
        for field in [*schema.CORE, *schema.LAST_FIELDS]
    )
    parts = [f"SELECT {empty} WHERE false"]
    for paths, rule in ((files, ""), (many, _LATEST)):
        if paths:
            parts.append(
                f"SELECT * FROM read_parquet({_listed(map(_pattern, map(str, paths)))},"
                " union_by_name = true,"
                f" hive_partitioning = false) {rule}"
            )
    return " UNION ALL BY NAME ".join(f"({part})" for part in parts)


def _pattern(path: str) -> str:
    """What `read_parquet`, which takes patterns, understands as this very path."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def _listed(paths: Iterable[str]) -> str:
    quoted = ("'" + path.replace("'", "''") + "'" for path in paths)
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
