"""The Parquet store: rows keep their types, damage is named, compaction loses and doubles none."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.store import results, schema
from search.store.results import Row
from tests.search.toys import as_table, measured, only_line, toy_row
from trainables.errors import InvalidRequest
from trainables.outcome import CURVE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a study that is not there yet."""
    return results.study_folder(tmp_path / "results", "toy")


def write(folder: Path, *rows: Row) -> None:
    """Each row as a part of its own."""
    for row in rows:
        results.write_row(folder, row)


def numbers(folder: Path) -> list[int]:
    """The trials that a study's folder holds, as they are read."""
    found: list[int] = results.read_study(folder)[0]["number"].to_pylist()
    return found


def parts(folder: Path) -> list[str]:
    """Names of all files in the folder of trials, hidden ones included."""
    return sorted(path.name for path in (folder / "trials").iterdir())


def fail_at(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
    """Let `Path.unlink` of parts fail at these calls (from 1)."""
    count = 0
    unlink = Path.unlink

    def failing(self: Path, missing_ok: bool = False) -> None:
        nonlocal count
        if self.suffix == ".parquet":
            count += 1
            if count in calls:
                raise OSError(errno.EIO, "Input/output error")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)


def test_a_row_comes_back_as_it_was_written(folder: Path) -> None:
    row = toy_row(3, {"flag": True, "direction": "model", "epochs": 7, "rate": 0.25})
    write(folder, row)
    table, damaged = results.read_study(folder)
    (found,) = results.rows_of(table)
    assert damaged == []
    assert measured(found) == measured(row)
    for name, kind in (("flag", bool), ("direction", str), ("epochs", int), ("rate", float)):
        assert type(found[f"p_{name}"]) is kind


def test_the_types_of_the_columns_are_explicit(folder: Path) -> None:
    write(folder, toy_row(0, {"flag": False, "direction": "model"}))
    schema = results.read_study(folder)[0].schema
    assert schema.field("number").type == pa.int64()
    assert schema.field("started").type == pa.timestamp("us", tz="UTC")
    assert schema.field("m_gap").type == pa.float64()
    assert schema.field("c_mia").type == pa.float64()
    assert schema.field("p_learning_rate").type == pa.float64()
    assert schema.field("p_samples_per_class").type == pa.int64()
    assert schema.field("p_flag").type == pa.bool_()
    assert schema.field("p_direction").type == pa.string()
    # A column of nothing but nulls is typed, too.
    assert schema.field("peak_memory_mb").type == pa.float64()
    assert schema.field("host").type == pa.string()


def test_the_schema_carries_its_version(folder: Path) -> None:
    write(folder, toy_row(0))
    (path,) = (folder / "trials").iterdir()
    assert pq.read_schema(path).metadata[b"forgetune_schema"] == b"1"


PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()


@settings(max_examples=50, deadline=None)
@given(values=st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), PLAIN))
def test_hyperparameters_of_any_kind_keep_value_and_type(values: dict[str, Any]) -> None:
    row = toy_row(0) | {f"p_{name}": value for name, value in values.items()}
    table = pa.Table.from_pylist([row], schema=schema.schema_of(row))
    (found,) = results.rows_of(pq.read_table(pa.BufferReader(parquet(table))))
    for name, value in values.items():
        assert found[f"p_{name}"] == value
        assert type(found[f"p_{name}"]) is type(value)


def parquet(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_what_was_not_measured_is_null_and_what_is_no_number_is_nan(folder: Path) -> None:
    write(folder, toy_row(0, state="crashed"), toy_row(1, m_gap=math.nan))
    table = results.read_study(folder)[0]
    assert table["m_gap"].is_null().to_pylist() == [True, False]
    assert math.isnan(table["m_gap"][1].as_py())
    assert table["m_mia"].to_pylist() == [None, 11.0]


def test_times_are_utc_to_the_microsecond(folder: Path) -> None:
    assert results.timestamp(0.0) == datetime(1970, 1, 1, tzinfo=UTC)
    write(folder, toy_row(0, started=results.timestamp(1_700_000_000.123456)))
    (found,) = results.rows_of(results.read_study(folder)[0])
    assert found["started"] == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert found["started"].utcoffset().total_seconds() == 0


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this machine's clock go by another zone than UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_times_do_not_depend_on_the_machine_s_zone(folder: Path) -> None:
    assert datetime.fromtimestamp(0).hour == 9
    assert results.timestamp(0.0).isoformat() == "1970-01-01T00:00:00+00:00"
    write(folder, toy_row(0, started=results.timestamp(0.0)))
    (found,) = results.rows_of(results.read_study(folder)[0])
    assert found["started"].isoformat() == "1970-01-01T00:00:00+00:00"


def test_a_part_is_named_after_trial_and_attempt(folder: Path) -> None:
    write(folder, toy_row(0), toy_row(12, attempt=3), toy_row(1_234_567))
    assert parts(folder) == [
        "part-000000-1.parquet",
        "part-000012-3.parquet",
        "part-1234567-1.parquet",
    ]


def test_writing_leaves_no_temporary_file(folder: Path) -> None:
    write(folder, *(toy_row(number) for number in range(5)))
    results.compact(folder)
    write(folder, toy_row(5))
    compacted, part = parts(folder)
    assert compacted.startswith("compact-")
    assert part == "part-000005-1.parquet"


def test_rows_are_read_in_the_order_of_their_numbers(folder: Path) -> None:
    write(folder, *(toy_row(number) for number in (7, 1_000_000, 0, 3)))
    assert numbers(folder) == [0, 3, 7, 1_000_000]


def test_three_hundred_parts_are_read(folder: Path) -> None:
    write(folder, *(toy_row(number) for number in range(300)))
    table, damaged = results.read_study(folder)
    assert damaged == []
    assert table["number"].to_pylist() == list(range(300))
    assert table["m_mia"].to_pylist() == [10.0 + number for number in range(300)]


def test_a_study_without_trials_is_an_empty_table_with_all_columns(folder: Path) -> None:
    folder.mkdir(parents=True)
    table, damaged = results.read_study(folder)
    assert (table.num_rows, damaged) == (0, [])
    assert {"number", "state", "m_gap", "c_mia"} <= set(table.column_names)


def test_the_last_attempt_of_a_trial_counts(folder: Path) -> None:
    write(
        folder,
        toy_row(0, attempt=2, m_gap=2.0),
        toy_row(0, attempt=10, m_gap=10.0),
        toy_row(0, attempt=1, m_gap=1.0),
        toy_row(1),
    )
    table = results.read_study(folder)[0]
    assert table["number"].to_pylist() == [0, 1]
    assert table["attempt"].to_pylist() == [10, 1]
    assert table["m_gap"].to_pylist() == [10.0, 2.0]


def truncated(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    path.write_bytes(path.read_bytes()[:-40])
    return path


def emptied(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    path.write_bytes(b"")
    return path


def foreign_bytes(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    path.write_bytes(b"number,state\n1,complete\n" * 50)
    return path


def foreign_columns(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    pq.write_table(pa.table({"number": [1], "letter": ["x"]}), path)
    return path


def foreign_types(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    pq.write_table(pa.table({name: ["x"] for name in schema.CORE.names}), path)
    return path


def garbled(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    return path


def dangling(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    path.unlink()
    path.symlink_to(folder / "nowhere.parquet")
    return path


def a_folder(folder: Path) -> Path:
    path = folder / "trials" / results.part_name(toy_row(1))
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("not a part")
    return path


DAMAGES = [
    truncated,
    emptied,
    foreign_bytes,
    foreign_columns,
    pytest.param(
        foreign_types,
    ),
    garbled,
    dangling,
    a_folder,
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("spoil", DAMAGES)
def test_a_damaged_part_is_named_and_the_others_are_read(folder: Path, spoil: Any) -> None:
    write(folder, *(toy_row(number) for number in range(3)))
    path = spoil(folder)
    table, (found,) = results.read_study(folder)
    assert table["number"].to_pylist() == [0, 2]
    assert found.path == path
    assert only_line(str(found)).startswith(f"{path}: ")
    scanned, named = results.examine(folder.parent)
    assert (scanned["number"].to_pylist(), named) == ([0, 2], [found])
    assert results.scan(folder.parent, "toy")["number"].to_pylist() == [0, 2]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("spoil", DAMAGES)
def test_compaction_leaves_a_damaged_part_where_it_is(folder: Path, spoil: Any) -> None:
    write(folder, *(toy_row(number) for number in range(3)))
    path = spoil(folder)
    results.compact(folder)
    compacted, left = parts(folder)
    assert compacted.startswith("compact-")
    assert left == path.name
    assert numbers(folder) == [0, 2]


def test_a_study_of_nothing_but_damage_has_no_rows(folder: Path) -> None:
    write(folder, toy_row(1))
    truncated(folder)
    table, damaged = results.read_study(folder)
    assert (table.num_rows, len(damaged)) == (0, 1)
    assert "m_gap" in table.column_names


def test_a_file_being_written_is_not_read(folder: Path) -> None:
    write(folder, toy_row(0))
    for name in (".part-000001-1.parquet.ab12.tmp", ".part-000001-1.parquet", "_SUCCESS.parquet"):
        (folder / "trials" / name).write_bytes(b"half")
    assert results.read_study(folder)[1] == []
    assert numbers(folder) == [0]


def test_compaction_keeps_every_row_once(folder: Path) -> None:
    rows = [toy_row(number) for number in range(4)] + [toy_row(4, {"extra": 1}, state="oom")]
    write(folder, *rows)
    before = results.read_study(folder)[0]
    results.compact(folder)
    (name,) = parts(folder)
    assert name.startswith("compact-")
    assert results.read_study(folder)[0].equals(before)


def test_compaction_again_and_again_keeps_every_row_once(folder: Path) -> None:
    for number in range(6):
        write(folder, toy_row(number))
        results.compact(folder)
        assert numbers(folder) == list(range(number + 1))
        assert len(parts(folder)) == 1


def test_compaction_of_one_file_or_none_does_nothing(folder: Path) -> None:
    results.compact(folder)
    assert not (folder / "trials").exists()
    write(folder, toy_row(0))
    results.compact(folder)
    assert parts(folder) == ["part-000000-1.parquet"]


def test_the_joined_file_carries_the_schema_version(folder: Path) -> None:
    write(folder, toy_row(0), toy_row(1))
    results.compact(folder)
    (path,) = (folder / "trials").iterdir()
    assert pq.read_schema(path).metadata[b"forgetune_schema"] == b"1"


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_interrupted_compaction_counts_every_row_once(
    folder: Path, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, *(toy_row(number) for number in range(3)))
    with monkeypatch.context() as patch:
        fail_at(patch, {call})
        with pytest.raises(InvalidRequest) as caught:
            results.compact(folder)
    assert "Input/output error" in only_line(str(caught.value))
    assert len(parts(folder)) == 1 + 3 - (call - 1)
    assert numbers(folder) == [0, 1, 2]
    write(folder, toy_row(3))
    results.compact(folder)
    assert numbers(folder) == [0, 1, 2, 3]
    assert len(parts(folder)) == 1


def test_a_compaction_that_cannot_be_written_leaves_the_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, toy_row(0), toy_row(1))
    before = parts(folder)
    with monkeypatch.context() as patch:
        patch.setattr(results, "put", disk_full)
        with pytest.raises(InvalidRequest, match="No space left on device"):
            results.compact(folder)
    assert parts(folder) == before


def test_a_reader_that_meets_a_compaction_sees_every_row_and_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, *(toy_row(number) for number in range(3)))
    read = pq.read_table
    met: list[Path] = []

    def meeting(path: Path, **how: Any) -> pa.Table:
        if not met:
            met.append(path)
            monkeypatch.undo()
            results.compact(folder)
        return read(path, **how)

    monkeypatch.setattr(pq, "read_table", meeting)
    table, damaged = results.read_study(folder)
    assert met
    assert (table["number"].to_pylist(), damaged) == ([0, 1, 2], [])


def disk_full(path: Path, content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_row_that_cannot_be_written_is_refused_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "put", disk_full)
    with pytest.raises(InvalidRequest) as caught:
        write(folder, toy_row(0))
    message = only_line(str(caught.value))
    assert str(folder) in message
    assert "No space left on device" in message
    assert "--results" in message


@pytest.mark.parametrize("level", ["results", "study", "trials"])
def test_a_file_in_place_of_the_folder_is_refused_in_one_line(folder: Path, level: str) -> None:
    blocked = {"results": folder.parent, "study": folder, "trials": folder / "trials"}[level]
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file")
    with pytest.raises(InvalidRequest) as caught:
        write(folder, toy_row(0))
    assert "cannot be written" in only_line(str(caught.value))
    assert blocked.read_text() == "a file"


def test_a_scan_unites_studies_with_different_hyperparameters(tmp_path: Path) -> None:
    write(results.study_folder(tmp_path, "b"), toy_row(0, study="b"))
    tuned = {k: v for k, v in toy_row(0).items() if not k.startswith("p_")}
    tuned |= {"study": "a", "p_epochs": 3, "p_learning_rate": 0.5}
    write(results.study_folder(tmp_path, "a"), tuned, tuned | {"number": 1, "p_epochs": 4})
    table = results.scan(tmp_path)
    assert table.select(["study", "number"]).to_pylist() == [
        {"study": "a", "number": 0},
        {"study": "a", "number": 1},
        {"study": "b", "number": 0},
    ]
    assert table["p_epochs"].to_pylist() == [3, 4, None]
    assert table["p_learning_rate"].to_pylist() == [0.5, 0.5, 1e-4]
    assert table["p_samples_per_class"].to_pylist() == [None, None, 500]
    assert table.schema.field("p_epochs").type == pa.int64()


def test_a_scan_of_one_study_has_no_rows_of_others(tmp_path: Path) -> None:
    for name in ("a", "ab"):
        write(results.study_folder(tmp_path, name), toy_row(0, study=name))
    assert results.scan(tmp_path, "a")["study"].to_pylist() == ["a"]


def test_a_scan_takes_a_path_as_text(folder: Path) -> None:
    write(folder, toy_row(0))
    assert results.scan(str(folder.parent)).num_rows == 1


def test_a_scan_of_a_folder_without_studies_is_empty(tmp_path: Path) -> None:
    assert results.scan(tmp_path).num_rows == 0
    assert results.scan(tmp_path / "none").num_rows == 0


def test_a_study_asked_for_where_there_is_none_is_refused(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(InvalidRequest) as caught:
            results.scan(root, "toy")
        message = only_line(str(caught.value))
        assert message == f"there are no studies in {root}; `forgetune run` makes one"


def test_an_unknown_study_is_refused_with_the_nearest_one(folder: Path) -> None:
    write(folder, toy_row(0))
    for ask in (results.scan, results.examine):
        with pytest.raises(InvalidRequest) as caught:
            ask(folder.parent, "tiy")
        assert "did you mean 'toy'?" in only_line(str(caught.value))


def test_studies_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "a=b"):
        results.study_folder(tmp_path, name).mkdir()
    (tmp_path / "notes").mkdir()
    assert results.study_names(tmp_path) == ["a", "a=b", "b"]


def test_a_file_named_like_a_study_is_not_taken_for_one(folder: Path) -> None:
    write(folder, toy_row(0))
    (folder.parent / "study=notes.txt").write_text("notes")
    assert results.study_names(folder.parent) == ["toy"]
    assert results.scan(folder.parent).num_rows == 1


def test_pandas_reads_the_folder_in_one_line(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = results.study_folder(tmp_path, name)
        write(folder, *(toy_row(number, study=name) for number in range(3)))
        (folder / "trials" / ".part.tmp").write_bytes(b"half")
    results.compact(results.study_folder(tmp_path, "a"))
    for name in ("a", "b"):
        frame = pd.read_parquet(results.study_folder(tmp_path, name) / "trials")
        assert sorted(frame["number"]) == [0, 1, 2]
        assert frame["p_samples_per_class"].dtype == "int64"
        assert str(frame["started"].dt.tz) == "UTC"


def test_arrow_reads_the_folder_in_one_line(folder: Path) -> None:
    write(folder, toy_row(0), toy_row(1, state="diverged"))
    table = pa.dataset.dataset(folder / "trials").to_table()
    assert sorted(table["number"].to_pylist()) == [0, 1]


def test_a_scan_becomes_a_data_frame(folder: Path) -> None:
    write(folder, toy_row(0), toy_row(1, state="crashed"))
    frame = results.scan(folder.parent).to_pandas()
    assert frame["m_gap"].tolist()[0] == 1.0
    assert frame["m_gap"].isna().tolist() == [False, True]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"3", b"null", b"\xff"])
def test_what_is_no_json_object_loads_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    assert results.load_json(path) is None
    path.write_bytes(content)
    assert results.load_json(path) is None
    path.write_bytes(b'{"a": 1}')
    assert results.load_json(path) == {"a": 1}


def test_a_table_made_of_rows_is_the_table_that_is_read(folder: Path) -> None:
    rows = [toy_row(0), toy_row(1, {"extra": 2}), toy_row(2, state="oom")]
    write(folder, *rows)
    assert results.read_study(folder)[0].to_pylist() == as_table(rows).to_pylist()


# Curves


def test_curves_are_lists_in_the_rows_and_long_on_request(folder: Path) -> None:
    def columns(values: list[float]) -> dict[str, list[float]]:
        return {f"curve_{name}": [value + i for value in values] for i, name in enumerate(CURVE)}

    results.write_row(folder, toy_row(0, **columns([5.0, 3.0])))
    results.write_row(folder, toy_row(1))
    results.write_row(folder, toy_row(2, state="pruned", **columns([9.0])))
    results.compact(folder)
    table, _ = results.read_study(folder)
    assert table["curve_seconds"].to_pylist() == [[5.0, 3.0], None, [9.0]]
    long = results.curves(table)
    assert long["number"].to_pylist() == [0, 0, 2]
    assert long["phase"].to_pylist() == [1, 2, 1]
    assert set(long["study"].to_pylist()) == {"toy"}
    for index, name in enumerate(CURVE):
        assert long[name].to_pylist() == [5.0 + index, 3.0 + index, 9.0 + index]


def test_without_curves_there_are_no_points(folder: Path) -> None:
    results.write_row(folder, toy_row(0))
    assert results.curves(results.read_study(folder)[0]).num_rows == 0
    assert results.curves(results.scan(folder / "nothing")).num_rows == 0
