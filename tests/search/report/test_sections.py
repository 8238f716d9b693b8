"""What stands in a page's sections, as values."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("plotly")

from search.report.blocks import Table, Text
from search.report.gather import gather
from search.report.groups import PROBED, VALIDATION, by_scenario, gather_all
from search.report.studies import comparison_sections
from search.report.study import sections
from tests.search.report.samples import DESCRIBED, describe
from tests.search.toys import toy_row, write_study


def test_the_control_and_the_probe_stand_beside_the_best(tmp_path: Path) -> None:
    control = {"forget_accuracy": 0.0, "retain_accuracy": 99.0, "gap": 0.25, "probe_gap": 7.0}
    references = {**DESCRIBED["references"], "control": control}
    found = [
        toy_row(0, m_probe=91.25, m_gap=1.0, m_probe_gap=9.5),
        toy_row(1, m_probe=83.75, m_gap=2.0, m_probe_gap=4.5),
    ]
    for name in ("one", "two"):
        describe(write_study(tmp_path, found, name), **{**DESCRIBED, "references": references})
    made = sections(gather(tmp_path, "one"))
    overview = next(section for section in made if section.id == "overview")
    (table,) = [block for block in overview.blocks if isinstance(block, Table)]
    lines = {line.cells[0].text: [cell.text for cell in line.cells] for line in table.lines}
    assert table.columns[1:7] == ["forget", "retain", "MIA", "gap", "probe", "gap with probe"]
    assert lines["control"][1:7] == ["0.0", "99.0", "-", "0.2", "-", "7.0"]
    told = [block.text for block in overview.blocks if isinstance(block, Text)]
    assert any("trial 0 of one by gap, trial 1 of one by gap with probe" in text for text in told)
    assert any("By gap the control" in text for text in told)

    both, _ = gather_all(tmp_path, ["one", "two"])
    (_, scenario) = comparison_sections(both, [])
    told = [block.text for block in scenario.blocks if isinstance(block, Text)]
    assert any("By gap the control" in text for text in told)


def test_studies_that_the_probe_steered_are_compared_among_themselves(tmp_path: Path) -> None:
    terms = "forget_accuracy,retain_accuracy,mia,probe"
    columns: dict[str, dict[str, str]] = {"usual": {}, "probed": {"gap_terms": terms}}
    for name, own in columns.items():
        write_study(tmp_path, [toy_row(0, m_probe_gap=5.0, **own)], name)
    (group,) = by_scenario(gather_all(tmp_path, ["usual", "probed"])[0])
    assert [study.name for study in group.steered(VALIDATION)] == ["usual"]
    assert [study.name for study in group.steered(PROBED)] == ["probed"]
