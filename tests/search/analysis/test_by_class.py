"""The map over forget targets, by hand."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from search.analysis.by_class import Target, sheet, summary
from search.analysis.sheets import as_csv, as_latex, as_markdown
from search.show.tables import sheet_table
from tests.search.toys import toy_row

CLASSES = ["cat", "dog", "owl"]


def target(label: int, *accuracies: list[float | None]) -> Target:
    rows = [toy_row(n, test_class_accuracy=found) for n, found in enumerate(accuracies)]
    return Target(label, rows, {"test_class_accuracy": [0.0, 97.0, None]})


FOUND = [
    target(0, [0.0, 80.0, 90.0], [4.0, 90.0, 90.0]),
    target(2, [70.0, 90.0, 10.0]),
]


def test_each_target_has_a_line_beside_the_retrained_model() -> None:
    shown = sheet(FOUND, CLASSES)
    assert [line.labels for line in shown.lines] == [
        *(["0 ('cat')", "unlearned"], ["0 ('cat')", "retrained"]),
        *(["2 ('owl')", "unlearned"], ["2 ('owl')", "retrained"]),
    ]
    assert shown.columns == ["0 ('cat')", "1 ('dog')", "2 ('owl')"]
    assert [str(cell) for cell in shown.lines[0].cells] == ["2.0 ± 2.8", "85.0 ± 7.1", "90.0 ± 0.0"]
    assert [str(cell) for cell in shown.lines[1].cells] == ["0.0", "97.0", "-"]
    assert [str(cell) for cell in shown.lines[2].cells] == ["70.0", "90.0", "10.0"]


def test_names_that_look_like_commands_are_told_as_they_are_in_every_form() -> None:
    names = ["1", "[red]", r"a\b|c^d,~"]
    shown = sheet([target(1, [50.0, 0.0, 99.0])], names)
    assert shown.lines[0].labels == ["1 ('[red]')", "unlearned"]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(sheet_table(shown, "title", "caption"))
    text = console.export_text()
    assert text.count("1 ('[red]')") == 3
    header, *lines = csv.reader(io.StringIO(as_csv(shown)))
    assert header[3] == "0 ('1') mean"
    assert lines[0][0] == "1 ('[red]')"
    assert r"2 ('a\\b\|c^d,~')" in as_markdown(shown)
    backslash = r"\textbackslash{}"
    told = rf"2 ('a{backslash}{backslash}b|c\textasciicircum{{}}d,\textasciitilde{{}}')"
    assert told in as_latex(shown)


def test_digits_are_told_by_number_alone() -> None:
    assert sheet([target(1, [50.0, 0.0])], ["0", "1"]).columns == ["0", "1"]


def test_the_summary_tells_forgotten_from_kept_classes() -> None:
    """(2 + 10) / 2 of the forgotten; (87.5 + 80) / 2 of the others."""
    assert summary(FOUND, 3) == {"forgotten": pytest.approx(6.0), "kept": pytest.approx(83.75)}
    assert summary([Target(1, reason="no GAN")], 3) == {}


def test_a_target_that_failed_keeps_its_place_with_the_reason() -> None:
    failed = Target(1, reason="the GAN of class 1 collapsed")
    broken = Target(2, [toy_row(0, state="diverged")])
    shown = sheet([failed, broken], CLASSES)
    assert shown.lines[0].remark == "the GAN of class 1 collapsed"
    assert shown.lines[2].remark == "1 diverged"
    assert {str(cell) for line in shown.lines for cell in line.cells} == {"-"}


def test_a_class_without_images_in_one_repeat_is_averaged_over_the_others() -> None:
    found = target(0, [0.0, None, 50.0], [0.0, 40.0, 60.0])
    assert [str(cell) for cell in found.accuracies("test", 3)] == ["0.0 ± 0.0", "40.0",
                                                                 "55.0 ± 7.1"]  # fmt: skip
