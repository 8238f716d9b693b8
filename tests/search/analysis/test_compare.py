"""The comparison's numbers and forms, by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search import Study
from search.analysis.compare import (
    COLUMNS,
    Entry,
    cells,
    choose,
    mean_gap,
    remarks,
    sheet,
)
from search.analysis.sheets import as_csv, as_latex, as_markdown
from search.designs import comparison
from search.show import tables
from tests.search.toys import NOWHERE, toy_row, toy_spec

HEADINGS = [column.heading for column in COLUMNS]


def repeat(number: int, **metrics: Any) -> dict[str, Any]:
    """A complete repeat with these metrics."""
    columns = {name if "seconds" in name else f"m_{name}": v for name, v in metrics.items()}
    return toy_row(number, **columns)


def entry(name: str, *values: dict[str, float], **columns: Any) -> Entry:
    return Entry(name, [repeat(n, **found) for n, found in enumerate(values)], **columns)


REFERENCES = [
    entry("original", {"test_forget_accuracy": 90.0, "test_mia": 70.0}, reference=True),
    entry("retrained", {"test_forget_accuracy": 0.0, "test_mia": 20.0}, reference=True),
]
FIRST = entry(
    "first",
    {"test_forget_accuracy": 2.0, "test_retain_accuracy": 80.0, "test_mia": 24.0},
    {"test_forget_accuracy": 6.0, "test_retain_accuracy": 84.0, "test_mia": 26.0},
)
SECOND = entry(
    "second",
    {"test_forget_accuracy": 5.0, "test_retain_accuracy": 70.0, "test_mia": 12.0},
    {"test_forget_accuracy": 5.0, "test_retain_accuracy": 72.0, "test_mia": 12.0},
)


def column(heading: str, entries: list[Entry]) -> list[str]:
    index = HEADINGS.index(heading)
    return [str(line[index]) + ("!" if line[index].best else "") for line in cells(entries)]


def test_means_and_deviations_are_over_repeats_and_the_best_method_is_marked() -> None:
    entries = [*REFERENCES, FIRST, SECOND]
    # Of 2 and 6 the mean is 4 and the deviation over n - 1 is the root of 8.
    assert column("D_f acc", entries) == ["90.0", "0.0", "4.0 ± 2.8!", "5.0 ± 0.0"]
    assert column("D_r acc", entries)[2:] == ["82.0 ± 2.8!", "71.0 ± 1.4"]
    assert column("AIN", entries) == ["-"] * 4


def test_the_best_mia_is_the_nearest_to_the_retrained_one() -> None:
    """25 is 5 from the retrained model's 20, 12 is 8 from it."""
    assert column("MIA", [*REFERENCES, FIRST, SECOND])[2:] == ["25.0 ± 1.4!", "12.0 ± 0.0"]


def test_the_best_index_is_the_nearest_to_1() -> None:
    near, far = entry("near", {"anamnesis_index": 1.3}), entry("far", {"anamnesis_index": 0.5})
    assert column("AIN", [near, far]) == ["1.30!", "0.50"]


def test_preparation_counts_beside_unlearning() -> None:
    found = entry("m", {"unlearn_seconds": 2.0, "prepare_seconds": 60.0})
    assert column("seconds", [found]) == ["2.00!"]
    assert column("with preparation", [found]) == ["62.0!"]


def test_ties_are_all_marked() -> None:
    same = entry("same", {"test_forget_accuracy": 5.0})
    assert column("D_f acc", [SECOND, same]) == ["5.0 ± 0.0!", "5.0!"]


def test_the_configuration_with_the_smallest_mean_gap_is_chosen() -> None:
    lucky = entry("lucky", {"gap": 0.1}, {"gap": 9.0})
    steady = entry("steady", {"gap": 2.0}, {"gap": 3.0})
    failed = Entry("failed", [repeat(0, gap=0.0), toy_row(1, state="diverged")])
    assert mean_gap(lucky.repeats) == pytest.approx(4.55)
    assert mean_gap(failed.repeats) is mean_gap([]) is None
    assert choose([lucky, steady, failed]) is steady
    assert choose([failed]) is failed


def test_a_method_that_failed_keeps_its_line_with_the_reason() -> None:
    broken = Entry("gkt", reason="the gate | never opened")
    entries = [*REFERENCES, FIRST, broken]
    assert column("D_f acc", entries)[-1] == "-"
    assert r"gkt (the gate \| never opened)" in as_markdown(sheet(entries))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tables.comparison(entries, "2 seeds"))
    assert "never opened" in console.export_text()


def test_markdown_and_latex_mark_the_best() -> None:
    entries = [*REFERENCES, FIRST, SECOND]
    lines = as_markdown(sheet(entries)).splitlines()
    assert lines[0].startswith("| method | D_f acc | D_r acc |")
    assert lines[4].startswith("| first | **4.0 ± 2.8** | **82.0 ± 2.8** | **25.0 ± 1.4** |")
    assert all(line.count("|") == len(COLUMNS) + 2 for line in lines)
    latex = as_latex(sheet([entry("scrub_r", {"test_forget_accuracy": 1.0})]))
    assert r"scrub\_r & \textbf{1.0} & \textbf{90.5} &" in latex
    assert latex.count("&") == 2 * len(COLUMNS)


def test_csv_has_unrounded_means_and_deviations() -> None:
    (line,) = csv.DictReader(io.StringIO(as_csv(sheet([FIRST]))))
    assert (line["method"], line["repeats"], line["D_f acc mean"]) == ("first", "2", "4.0")
    assert float(line["D_f acc std"]) == pytest.approx(8**0.5)
    assert line["AIN mean"] == line["remark"] == ""


CONTROL = entry("mask", {"test_gap": 0.5, "test_probe": 98.0, "test_probe_gap": 6.0},
                reference=True, control=True)  # fmt: skip


def probed(name: str, gap: float, probe: float, probe_gap: float, **columns: Any) -> Entry:
    figures = {"test_gap": gap, "test_probe": probe, "test_probe_gap": probe_gap}
    return entry(name, figures, **columns)


def test_the_control_is_never_the_best_and_is_called_what_it_is() -> None:
    retrained = probed("retrained", 0.0, 80.0, 0.0, reference=True)
    entries = [retrained, CONTROL, probed("near", 1.0, 84.0, 2.0), probed("far", 3.0, 75.0, 4.0)]
    assert column("probe", entries) == ["80.0", "98.0", "84.0!", "75.0"]
    assert column("gap", entries) == ["0.0", "0.5", "1.0!", "3.0"]
    assert column("gap with probe", entries) == ["0.0", "6.0", "2.0!", "4.0"]
    assert "| mask (control: an output switched off) |" in as_markdown(sheet(entries))
    searched = probed("mask", 0.5, 98.0, 6.0, control=True)
    assert column("gap", [searched, entries[2]]) == ["0.5", "1.0!"]


def test_lines_below_say_where_gaps_disagree_and_where_the_control_is_better() -> None:
    entries = [CONTROL, probed("usual", 1.0, 97.0, 5.0), probed("deep", 2.0, 85.0, 3.0)]
    found = sheet(entries)
    disagree, better = found.remarks
    assert disagree == (
        "The gaps disagree about the best method: usual by gap, deep by gap with probe."
    )
    assert better.startswith("By gap the control")
    assert "(0.5 points) than the best, usual (1.0)" in better
    assert as_markdown(found).endswith(f"|\n\n{disagree}\n\n{better}\n")
    assert as_latex(found).endswith(f"tabular}}\n% {disagree}\n% {better}\n")
    assert len(as_csv(found).splitlines()) == 1 + len(entries)
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(tables.comparison(entries, "1 seed"))
    assert disagree in console.export_text()
    assert sheet([CONTROL, probed("best", 0.4, 80.0, 0.3)]).remarks == []


def test_references_are_those_of_study_json_in_their_order(tmp_path: Path) -> None:
    study = Study(toy_spec(name="toy"), root=tmp_path, places=NOWHERE)
    study.folder.mkdir(parents=True)
    stored = {"control": {"gap": 2.0}, "retrained": {"gap": 0.0}, "base": {"mia": 9.0}}
    (study.folder / "study.json").write_text(json.dumps({"references": stored}))
    found = comparison._references(study)
    assert [(item.name, item.control) for item in found] == [
        *(("original", False), ("retrained", False), ("mask", True)),
    ]
    assert not any(item.competes for item in found)
    assert found[2].repeats[0]["m_gap"] == 2.0


def test_where_relearning_was_given_up_its_figures_are_called_bounds() -> None:
    open_ended = entry("far", {"relearn_capped": 0.0}, {"relearn_capped": 1.0})
    found = remarks([entry("near", {"relearn_capped": 0.0}), open_ended, entry("none", {})])
    assert found == [
        "Relearning was given up at the cap, of the model or of the retrained one, for far: "
        "their steps or AIN are bounds."
    ]
    assert remarks([entry("near", {"relearn_capped": 0.0})]) == []
