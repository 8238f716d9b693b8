"""SQL over results: three views, each trial once, nothing written, nothing else read."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from search.store import results
from search.store.export import write
from search.store.query import Query
from tests.search.toys import only_line, toy_row, write_study
from trainables.errors import InvalidRequest
from trainables.outcome import CURVE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two studies of different methods: one joined into a file, one in parts."""
    folder = write_study(tmp_path, [toy_row(n, m_gap=float(n)) for n in range(3)], "joined")
    results.compact(folder)
    curve = {f"curve_{name}": [1.0, 2.0] for name in CURVE}
    rows = [
        toy_row(0, {"sigma": 0.5}, m_gap=0.25),
        toy_row(1, {"sigma": 0.7}, state="pruned", **curve),
        toy_row(2, {"sigma": 0.9}, state="oom"),
    ]
    write_study(tmp_path, rows, "parts")
    return tmp_path


def rows(root: Path, sql: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = Query(root).run(sql).to_pylist()
    return found


def refusal(root: Path, sql: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        Query(root).run(sql)
    return only_line(str(caught.value))


def test_trials_of_all_studies_are_in_one_view(root: Path) -> None:
    best = rows(
        root, "SELECT study, number, p_sigma FROM trials WHERE m_gap IS NOT NULL ORDER BY m_gap"
    )
    assert best == [
        {"study": "joined", "number": 0, "p_sigma": None},
        {"study": "parts", "number": 0, "p_sigma": 0.5},
        {"study": "joined", "number": 1, "p_sigma": None},
        {"study": "joined", "number": 2, "p_sigma": None},
    ]


def test_studies_are_summed_up(root: Path) -> None:
    found = rows(root, "SELECT study, trials, complete, pruned, failed, best_gap FROM studies")
    assert found == [
        {
            **{"study": "joined", "trials": 3, "complete": 3, "pruned": 0, "failed": 0},
            "best_gap": 0.0,
        },
        {
            **{"study": "parts", "trials": 3, "complete": 1, "pruned": 1, "failed": 1},
            "best_gap": 0.25,
        },
    ]


def test_curves_are_long(root: Path) -> None:
    found = rows(root, "SELECT study, number, phase, gap FROM curves ORDER BY phase")
    assert found == [
        {"study": "parts", "number": 1, "phase": 1, "gap": 1.0},
        {"study": "parts", "number": 1, "phase": 2, "gap": 2.0},
    ]


def test_a_trial_in_two_files_counts_once_and_as_its_last_attempt(root: Path) -> None:
    folder = results.study_folder(root, "joined")
    (joined,) = (folder / "trials").glob("*.parquet")
    shutil.copy(joined, joined.with_name("compact-again.parquet"))
    results.write_row(folder, toy_row(1, study="joined", attempt=2, m_gap=77.0))
    found = rows(root, "SELECT number, m_gap FROM trials WHERE study = 'joined' ORDER BY number")
    assert [row["m_gap"] for row in found] == [0.0, 77.0, 2.0]


def test_damaged_files_are_named_and_left_out(root: Path) -> None:
    folder = results.study_folder(root, "parts") / "trials"
    (folder / "part-000000-1.parquet").write_bytes(b"torn")
    pq.write_table(pa.table({"x": [1]}), folder / "foreign.parquet")
    query = Query(root)
    assert sorted(damage.path.name for damage in query.damaged) == [
        "foreign.parquet",
        "part-000000-1.parquet",
    ]
    assert query.run("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 5}]


def test_a_study_without_trials_has_views_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "study=new").mkdir()
    assert rows(tmp_path, "SELECT m_gap, curve_gap FROM trials") == []
    assert rows(tmp_path, "SELECT * FROM curves") == rows(tmp_path, "SELECT * FROM studies") == []


ODD = [
    "it's",
    'q"q',
    "a*b",
    "a?b",
    "**",
    "a[b]",
    "[a-c]",
    "a[!b",
    "{a,b}",
    "a\\b",
    "å b=c",
]


@pytest.mark.parametrize("name", ODD)
def test_a_folder_of_any_name_is_read_and_no_other(root: Path, name: str) -> None:
    write_study(root.with_name("axb"), [toy_row(0, study="stranger")], "stranger")
    moved = root.rename(root.with_name(name))
    shutil.rmtree(root, ignore_errors=True)
    studies = rows(moved, "SELECT study, trials FROM studies")
    assert studies == [{"study": "joined", "trials": 3}, {"study": "parts", "trials": 3}]
    assert results.scan(moved).num_rows == 6


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW trials",
        "SELECT 1; SELECT 2",
        "COPY trials TO 'copy.csv'",
        "CREATE TABLE t AS SELECT 1",
        "ATTACH 'other.db'",
        "SET enable_external_access = true",
        "",
    ],
)
def test_only_a_select_is_run(root: Path, sql: str) -> None:
    assert refusal(root, sql) == "give one SELECT; results are only read here"


@pytest.mark.parametrize("reader", ["read_text", "read_csv", "read_parquet"])
def test_other_files_are_out_of_reach(root: Path, tmp_path: Path, reader: str) -> None:
    secret = tmp_path / "secret.parquet"
    pq.write_table(pa.table({"x": [1]}), secret)
    assert "Permission" in refusal(root, f"SELECT * FROM {reader}('{secret}')")
    described = results.study_folder(root, "joined") / "study.json"
    assert "Permission" in refusal(root, f"SELECT * FROM read_text('{described}')")


def test_a_mistake_is_told_in_one_line(root: Path) -> None:
    assert "nope" in refusal(root, "SELECT nope FROM trials")
    assert "syntax" in refusal(root, "SELEC 1")


def test_a_folder_without_studies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="there are no studies"):
        Query(tmp_path)


def test_the_schema_lists_the_columns_of_each_view(root: Path) -> None:
    found = {(row["view"], row["column"]): row["type"] for row in Query(root).schema().to_pylist()}
    assert found["trials", "m_gap"] == found["trials", "p_sigma"] == "DOUBLE"
    assert found["curves", "phase"] == "BIGINT"
    assert ("studies", "best_gap") in found


def test_results_are_written_in_each_format(root: Path, tmp_path: Path) -> None:
    table = Query(root).run("SELECT study, number FROM trials ORDER BY ALL")
    for style in ("csv", "json", "parquet"):
        write(table, style, tmp_path / f"out.{style}")
    assert json.loads((tmp_path / "out.json").read_text()) == table.to_pylist()
    assert pq.read_table(tmp_path / "out.parquet").equals(table)
    assert pyarrow.csv.read_csv(tmp_path / "out.csv").to_pylist() == table.to_pylist()
    with pytest.raises(InvalidRequest, match="give a file"):
        write(table, "parquet", None)
    with pytest.raises(InvalidRequest, match="No such file"):
        write(table, "csv", tmp_path / "nowhere" / "out.csv")


def test_a_folder_that_cannot_be_queried_is_told_in_one_line(root: Path) -> None:
    moved = root.rename(root.with_name("a\\b[c]"))
    with pytest.raises(InvalidRequest, match="cannot be queried"):
        Query(moved)


# Value in SQL -> in JSON and, as text, in CSV
ANYTHING: dict[str, tuple[object, str]] = {
    "[1, NULL, 2]": ([1, None, 2], "[1, null, 2]"),
    "{'a': 1, 'b': ['x']}": ({"a": 1, "b": ["x"]}, '{"a": 1, "b": ["x"]}'),
    "MAP {1: 'a', 2: 'b'}": ({"1": "a", "2": "b"}, '{"1": "a", "2": "b"}'),
    "MAP {[1]: 2}": ([[[1], 2]], "[[[1], 2]]"),
    "[1, 2]::INT[2]": ([1, 2], "[1, 2]"),
    "INTERVAL 1 MONTH": ("1 month", "1 month"),
    "[INTERVAL 1 MONTH]": (["1 month"], '["1 month"]'),
    "'101'::BIT": ("101", "101"),
    r"'\xFF'::BLOB": (r"\xFF", r"\xFF"),
    "union_value(k := 1)": ("1", "1"),
    "170141183460469231731687303715884105727": (2**127 - 1, str(2**127 - 1)),
    "340282366920938463463374607431768211455::UHUGEINT": (str(2**128 - 1), str(2**128 - 1)),
    "1.50::DECIMAL(10, 2)": (1.5, "1.50"),
    "'infinity'::DATE": ("infinity", "infinity"),
    "'0044-03-15 (BC)'::DATE": ("0044-03-15 (BC)", "0044-03-15 (BC)"),
    "'10000-01-01'::TIMESTAMP": ("10000-01-01 00:00:00", "10000-01-01 00:00:00"),
    "'12:00:00+02'::TIMETZ": ("12:00:00+02", "12:00:00+02"),
    "'nan'::DOUBLE": (None, "nan"),
    "['-inf'::DOUBLE, 1]": ([None, 1.0], "[null, 1.0]"),
    "'a,\"b\"\n'": ('a,"b"\n', 'a,"b"\n'),
    "'[bold]x[/nope]'": ("[bold]x[/nope]", "[bold]x[/nope]"),
}


@pytest.mark.parametrize("value", ANYTHING)
def test_any_value_is_written_in_each_format(root: Path, tmp_path: Path, value: str) -> None:
    in_json, in_csv = ANYTHING[value]
    query, sql = Query(root), f"SELECT {value} AS a, 1 AS b"
    for style in ("csv", "json", "parquet"):
        write(query.run(sql, as_text=style != "parquet"), style, tmp_path / style)
    assert json.loads((tmp_path / "json").read_text(), parse_constant=pytest.fail) == [
        {"a": in_json, "b": 1}
    ]
    with (tmp_path / "csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], [in_csv, "1"]]
    assert pq.read_metadata(tmp_path / "parquet").num_rows == 1


def test_all_columns_of_all_trials_are_written_as_csv(root: Path, tmp_path: Path) -> None:
    write(Query(root).run("SELECT * FROM trials", as_text=True), "csv", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        found = {(row["study"], row["number"]): row for row in csv.DictReader(file)}
    assert len(found) == 6
    assert json.loads(found["parts", "1"]["curve_gap"]) == [1.0, 2.0]
    assert found["joined", "2"]["m_gap"] == "2"


def test_columns_of_one_name_are_kept_apart(root: Path) -> None:
    assert rows(root, "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a") == [
        {"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}
    ]


@pytest.mark.parametrize(("style", "content"), [("csv", '"study"\n'), ("json", "[]\n")])
def test_no_rows_are_written_too(root: Path, tmp_path: Path, style: str, content: str) -> None:
    found = Query(root).run("SELECT study FROM trials WHERE false", as_text=True)
    write(found, style, tmp_path / "none")
    assert (tmp_path / "none").read_text() == content


def test_a_query_that_is_no_text_is_refused(root: Path) -> None:
    assert "surrogates not allowed" in refusal(root, "SELECT '\udcff'")
