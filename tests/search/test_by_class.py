"""The map over forget targets, by hand."""

from __future__ import annotations

import pytest

from search.analysis.by_class import Target, sheet, summary
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
        *(["cat", "unlearned"], ["cat", "retrained"], ["owl", "unlearned"], ["owl", "retrained"])
    ]
    assert [str(cell) for cell in shown.lines[0].cells] == ["2.0 ± 2.8", "85.0 ± 7.1", "90.0 ± 0.0"]
    assert [str(cell) for cell in shown.lines[1].cells] == ["0.0", "97.0", "-"]
    assert [str(cell) for cell in shown.lines[2].cells] == ["70.0", "90.0", "10.0"]


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
