"""Tables of means and deviations, and their forms, by hand."""

from __future__ import annotations

import csv
import io

import pytest

from search.analysis.sheets import Cell, Line, Sheet, as_csv, as_latex, as_markdown, cell

SHEET = Sheet(
    ["rate", "samples"],
    ["D_f acc", "MIA"],
    [
        Line(["0.1", "50%"], [cell([1.0, 3.0]), cell([])], 2),
        Line(["0.2", "a|b"], [Cell(5.0, best=True), cell([7.25], digits=2)], 1, "1 oom"),
    ],
)


def test_a_cell_is_the_mean_and_the_deviation_over_n_minus_1() -> None:
    assert (cell([1.0, 3.0]).mean, cell([1.0, 3.0]).spread) == (2.0, pytest.approx(2**0.5))
    assert str(cell([1.0, 3.0])) == "2.0 ± 1.4"


def test_one_value_has_no_deviation_and_none_is_a_dash() -> None:
    assert str(cell([7.25], digits=2)) == "7.25"
    assert str(cell([])) == "-"


def test_markdown_has_a_cell_for_each_column_whatever_stands_in_it() -> None:
    assert as_markdown(SHEET).splitlines() == [
        "| rate | samples | D_f acc | MIA |",
        "| --- | --- | --- | --- |",
        "| 0.1 | 50% | 2.0 ± 1.4 | - |",
        r"| 0.2 | a\|b (1 oom) | **5.0** | 7.25 |",
    ]


def test_latex_escapes_what_it_would_read_as_commands() -> None:
    lines = as_latex(SHEET).splitlines()
    assert lines[0] == r"\begin{tabular}{llrr}"
    assert lines[2] == r"rate & samples & D\_f acc & MIA \\"
    assert lines[4] == r"0.1 & 50\% & 2.0 $\pm$ 1.4 & - \\"
    assert lines[5] == r"0.2 & a|b (1 oom) & \textbf{5.0} & 7.25 \\"


def test_csv_is_unrounded_and_keeps_remarks_apart() -> None:
    first, second = csv.DictReader(io.StringIO(as_csv(SHEET)))
    assert float(first["D_f acc std"]) == pytest.approx(2**0.5)
    assert (first["MIA mean"], first["repeats"], first["remark"]) == ("", "2", "")
    assert (second["samples"], second["remark"]) == ("a|b", "1 oom")
