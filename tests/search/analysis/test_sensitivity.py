"""Sensitivity from rows of a sweep, by hand."""

from __future__ import annotations

import json

from search.analysis.sensitivity import points, sheet
from search.store.results import Row
from tests.search.toys import as_table, toy_row


def run(number: int, rate: float, forget: float | None, **columns: object) -> Row:
    values = {"learning_rate": rate, "samples_per_class": 100 if number % 2 else 900}
    if forget is None:
        return toy_row(number, values, state="diverged")
    metrics = {"m_test_forget_accuracy": forget, "m_forget_accuracy": 50.0}
    return toy_row(number, values, **metrics, **columns)


ROWS = [
    run(0, 1e-2, 4.0),
    run(1, 1e-4, 90.0),
    run(2, 1e-2, 8.0),
    run(3, 1e-4, 100.0),
    run(4, 1e-2, None),
]


def test_repeats_are_gathered_by_value_and_values_are_in_order() -> None:
    low, high = points(as_table(ROWS), ["learning_rate"])
    assert (low.values, high.values) == ((1e-4,), (1e-2,))
    assert str(low.cell("test_forget_accuracy")) == "95.0 ± 7.1"
    assert str(high.cell("test_forget_accuracy")) == "6.0 ± 2.8", "of the repeats that ended well"
    assert (low.failures, high.failures) == ("", "1 diverged")


def test_the_table_shows_the_split_that_was_asked_for_and_what_failed() -> None:
    found = points(as_table(ROWS), ["learning_rate"])
    shown = sheet(found, ["learning_rate"])
    assert (shown.about, shown.columns) == (["learning_rate"], ["D_f acc", "D_r acc", "MIA", "gap"])
    assert [line.labels for line in shown.lines] == [["0.0001"], ["0.01"]]
    assert [line.repeats for line in shown.lines] == [2, 3]
    assert shown.lines[1].remark == "1 diverged"
    on_validation = sheet(found, ["learning_rate"], "validation")
    assert str(on_validation.lines[0].cells[0]) == "50.0 ± 0.0"


def test_without_data_there_is_no_membership_attack_to_show() -> None:
    rows = [toy_row(0, m_synthetic_forget_accuracy=3.0, m_synthetic_gap=1.0)]
    found = points(as_table(rows), ["learning_rate"])
    shown = sheet(found, ["learning_rate"], "synthetic")
    assert shown.columns == ["D_f acc", "D_r acc", "gap"]
    assert [str(cell) for cell in shown.lines[0].cells] == ["3.0", "-", "1.0"]


def test_two_hyperparameters_make_a_point_of_each_pair() -> None:
    found = points(as_table(ROWS), ["samples_per_class", "learning_rate"])
    assert [point.values for point in found] == [(100, 1e-4), (900, 1e-2)]


def test_words_come_after_numbers() -> None:
    rows = [toy_row(n, {"kind": kind}) for n, kind in enumerate(["b", 2, "a", 1])]
    found = points(as_table([{k: v for k, v in row.items() if k != "p_kind"} for row in rows]),
                   ["kind"])  # fmt: skip
    assert [point.values[0] for point in found] == [1, 2, "a", "b"]


def test_a_point_whose_runs_all_failed_keeps_its_line() -> None:
    (line,) = sheet(points(as_table([ROWS[4]]), ["learning_rate"]), ["learning_rate"]).lines
    assert {str(cell) for cell in line.cells} == {"-"}
    assert line.remark == "1 diverged"


def test_words_and_numbers_of_one_hyperparameter_are_points_in_order() -> None:
    rows = [
        {**row, "params_json": json.dumps({"layers": value})}
        for row, value in zip(ROWS, ["all", 8, 2, "all"], strict=False)
    ]
    found = points(as_table(rows), ["layers"])
    assert [point.values for point in found] == [(2,), (8,), ("all",)]
    assert [len(point.rows) for point in found] == [1, 1, 2]
