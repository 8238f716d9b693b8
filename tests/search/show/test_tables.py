"""Tables for people, and the JSON and TOML forms of a configuration."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from search.definition.checking import check_name
from search.definition.reading import load_spec
from search.definition.resolved import scenario_of
from search.definition.resolving import resolve
from search.definition.space import SearchSpace
from search.definition.spec import StudySpec
from search.show import tables
from search.store import results
from search.store.results import Row
from search.store.status import Status
from tests.search.toys import NOWHERE, as_table, run_study, toy_row, toy_spec
from trainables import methods

SPEC = toy_spec(method="mugan", objective="gap", mia_tolerance=3.0, scenario={"width": 0.5})


def rendered(table: Table, width: int = 80) -> str:
    """A table as it is printed where nobody looks at a terminal."""
    file = io.StringIO()
    tables.show(Console(file=file, width=width, force_terminal=False), table)
    return file.getvalue()


def loaded(folder: Path, text: str) -> StudySpec:
    """A TOML text as `forgetune run` reads it."""
    path = folder / "best.toml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path, {})


def test_the_toml_form_is_a_specification_with_everything_fixed(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "learning_rate": 0.000123,
        "samples_per_class": 731,
        "temperature": 8.0,
    }
    values |= {"forget_batch_size": 16, "retain_batch_size": 128, "direction": "model"}
    values |= {"batch_norm": "frozen", "layers": "all"}
    text = tables.as_toml(toy_row(4, values), SPEC.model_dump(mode="json"))
    assert tomllib.loads(text)["space"] == values
    spec = resolve(loaded(tmp_path, text), NOWHERE)
    assert spec.space == values
    assert SearchSpace(spec.method, spec.space).distributions == {}
    assert (spec.name, spec.trials, spec.seed) == ("toy-best", 1, 0)
    assert (spec.objective, spec.mia_tolerance) == ("gap", 3.0)
    assert scenario_of(spec) == scenario_of(SPEC)


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(1e-300, 1e30),
    samples=st.integers(2, 10**9),
    direction=st.sampled_from(["model", "reference"]),
)
def test_hyperparameters_survive_the_toml_form(rate: float, samples: int, direction: str) -> None:
    values = {"learning_rate": rate, "samples_per_class": samples, "direction": direction}
    row = as_table([toy_row(0, values)]).to_pylist()[0]
    found = tomllib.loads(tables.as_toml(row, SPEC.model_dump(mode="json")))["space"]
    assert methods.make("mugan", found) == methods.make("mugan", values)


def test_the_toml_form_of_a_settled_trial_is_that_trial(tmp_path: Path) -> None:
    rows = run_study(tmp_path, method="mugan", trials=2)
    described = results.load_json(results.study_folder(tmp_path, "toy") / "study.json")
    assert described is not None
    for row in rows:
        spec = loaded(tmp_path, tables.as_toml(row, described["spec"]))
        assert methods.make("mugan", spec.space) == methods.make(
            "mugan", json.loads(row["params_json"])
        )


def test_the_toml_form_of_a_method_without_hyperparameters_can_be_run(tmp_path: Path) -> None:
    (row,) = run_study(tmp_path, method="original", trials=1)
    text = tables.as_toml(row, toy_spec(method="original").model_dump(mode="json"))
    assert resolve(loaded(tmp_path, text), NOWHERE).space == {}


def test_the_toml_form_says_how_to_repeat_the_very_trial() -> None:
    text = tables.as_toml(toy_row(4, seed=98765), SPEC.model_dump(mode="json"))
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert "trial 4 of study toy" in comments[0]
    assert "forget 10.0 %, retain 86.0 %, gap 5.0 (validation)" in comments[0]
    assert comments[1].endswith("forgetune trial THIS_FILE --seed 98765")


@pytest.mark.parametrize("length", [1, 94, 95, 100])
def test_the_name_in_the_toml_form_can_be_used(length: int) -> None:
    text = tables.as_toml(toy_row(0, study="x" * length), SPEC.model_dump(mode="json"))
    name = tomllib.loads(text)["name"]
    check_name(name)
    assert name != "x" * length


def test_the_json_form_holds_hyperparameters_and_metrics() -> None:
    rows = as_table([toy_row(3), toy_row(1, {"direction": "model"})]).to_pylist()
    first, second = json.loads(tables.as_json(rows))
    assert [first["number"], second["number"]] == [3, 1]
    assert first == {
        "study": "toy",
        "number": 3,
        "method": "mugan",
        "dataset": "digits",
        "model": "allcnn",
        "forget": "3",
        "forget_names": None,
        "seed": 1003,
        # A hyperparameter of another trial's alone is left out, as is a metric not measured.
        "hyperparameters": {"learning_rate": 1e-4, "samples_per_class": 500},
        "metrics": {
            "forget_accuracy": 7.5,
            "retain_accuracy": 87.0,
            "mia": 13.0,
            "gap": 4.0,
            "test_forget_accuracy": 8.0,
            "test_retain_accuracy": 87.5,
            "test_mia": 13.5,
            "test_gap": 4.5,
        },
        "unlearn_seconds": 0.5,
        "prepare_seconds": 3.0,
    }
    assert second["hyperparameters"]["direction"] == "model"
    assert json.loads(tables.as_json([toy_row(0, state="oom")]))[0]["metrics"] == {}
    assert json.loads(tables.as_json([])) == []


def test_hyperparameters_are_the_p_columns_that_have_a_value() -> None:
    row: Row = {"p_a": 0, "p_b": None, "p_c": False, "m_d": 1.0, "number": 2, "p_p_e": ""}
    assert tables.hyperparameters({**row, "params_json": "{}"}) == {"a": 0, "c": False, "p_e": ""}
    read_as_words = {"p_a": "0.5", "params_json": '{"a": 0.5}'}
    assert tables.hyperparameters(read_as_words) == {"a": 0.5}


def test_configurations_show_figures_and_hyperparameters_side_by_side() -> None:
    rows = [
        toy_row(12, {"learning_rate": 0.000123456, "direction": "model"}, unlearn_seconds=1.239),
        toy_row(3, {"learning_rate": 0.5}),
    ]
    text = rendered(tables.configurations("The title", rows))
    assert text.startswith("The title")
    for heading in ("trial", "forget", "retain", "MIA", "gap", "test forget", "test retain"):
        assert heading in text
    first = next(line for line in text.splitlines() if "12" in line and "model" in line)
    cells = [cell.strip() for cell in first.strip("│┃").split("│")]
    assert cells[:2] == ["toy", "digits"], "always named"
    assert cells[2:10] == ["12", "30.0", "78.0", "22.0", "13.0", "30.5", "78.5", "1.24"]
    assert "learning_rate=0.000123" in first
    assert "samples_per_class=500" in first
    assert text.index("0.000123") < text.index("learning_rate=0.5")


def test_configurations_of_several_studies_say_which() -> None:
    rows = [toy_row(0, study="one"), toy_row(0, study="two")]
    lines = rendered(tables.configurations("Both", rows)).splitlines()
    assert [any(name in line for line in lines) for name in ("one", "two")] == [True, True]


def test_configurations_show_a_dash_for_what_was_not_measured() -> None:
    row = as_table([toy_row(7, m_test_retain_accuracy=None, unlearn_seconds=None)]).to_pylist()[0]
    text = rendered(tables.configurations("One", [row]))
    line = next(line for line in text.splitlines() if "learning_rate" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[8:10] == ["-", "-"]


def test_numbers_are_rounded_and_the_unknown_is_a_dash() -> None:
    assert tables.number(1.25) == "1.2"
    assert tables.number(0.0) == "0.0"
    assert tables.number(2.346, 2) == "2.35"
    assert tables.number(None) == "-"


@pytest.mark.parametrize("width", [20, 80, 300])
def test_a_table_is_not_cut_off_where_nobody_scrolls(width: int) -> None:
    table = Table()
    table.add_column("wide")
    table.add_row("x" * 150)
    assert "x" * 150 in rendered(table, width)


def state_of(**values: Any) -> Status:
    known: dict[str, Any] = {
        "name": "toy",
        "target": 100,
        "settled": 40,
        "states": {"complete": 35, "oom": 3, "crashed": 2},
        "running": 2,
        "holder": "process 7 on elsewhere",
        "seconds_left": 125.0,
        "best": toy_row(8),
        "damaged": [],
    }
    return Status(**{**known, **values})


def cells_of(found: Status) -> list[str]:
    """The cells of the one line that a status table has for a study."""
    line = next(line for line in rendered(tables.status_table([found])).splitlines() if "/" in line)
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_status_is_one_line_of_counts_best_and_time_left() -> None:
    assert cells_of(state_of()) == [
        *("toy", "40/100", "5", "2", "9.0 (trial 8)", "2 min 05 s", "process 7 on elsewhere"),
    ]


def test_a_status_shows_what_is_not_known() -> None:
    found = state_of(target=None, best=None, seconds_left=None, holder=None, running=0)
    assert cells_of(found) == ["toy", "40/?", "5", "0", "-", "-", "nobody"]


def test_the_anamnesis_index_is_shown_where_it_was_measured_and_its_cap_said() -> None:
    plain = toy_row(0)
    assert "AIN" not in rendered(tables.configurations("best", [plain]))
    open_ended = toy_row(1, m_anamnesis_index=1.25, m_relearn_capped=1.0)
    closed = toy_row(2, m_anamnesis_index=0.5, m_relearn_capped=0.0)
    shown = rendered(tables.configurations("best", [plain, open_ended, closed]))
    lines = [line for line in shown.splitlines() if line.startswith("│")]
    assert "capped at 1.25" in lines[1]
    assert "0.50" in lines[2]
    assert "capped" not in lines[0] + lines[2]


def test_words_that_look_like_markup_are_shown_as_they_are() -> None:
    row = toy_row(0, {"direction": "[bold]x[/nope]"})
    assert "direction=[bold]x[/nope]" in rendered(tables.configurations("Title", [row]))
