"""What is made from a study says from which, and from which trial of it, however it is made."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.definition.names import cut
from search.definition.reading import validate
from search.definition.resolving import resolve
from search.definition.space import SearchSpace
from search.definition.spec import StudySpec
from search.designs import sweeps
from search.designs.comparison import compare
from search.designs.repeats import (
    CLASSES,
    CONFIRMED,
    SWEEPS,
    Origin,
    configuration,
    confirmed_name,
    named_origin,
    origins,
    repeated,
    run,
)
from search.designs.targets import forget_each
from search.ledger.ledger import Ledger
from search.show import tables
from search.show.progress import Progress
from search.store import results
from search.study import Study
from tests.search.toys import NOWHERE, only_line, open_ledger, settle, toy_row, toy_spec
from trainables.errors import InvalidRequest
from trainables.scenario import Places

PLACES = Places()
QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def trials_are_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(self: Study, ledger: Ledger, shown: Progress) -> None:
        settle(ledger)

    monkeypatch.setattr(Study, "_search", search)


def searched(root: Path, name: str, **values: Any) -> StudySpec:
    """A study that has run, in which trial 0 is the best."""
    spec = toy_spec(name=name, method="mugan", trials=3, **values)
    Study(spec, root=root, places=PLACES).run()
    return spec


def made_from(root: Path, kind: str) -> dict[str, list[Origin]]:
    """What each run of a folder beside was made from."""
    return {
        name: origins(
            results.load_json(results.study_folder(root / kind, name) / "study.json") or {}
        )
        for name in results.study_names(root / kind)
    }


def sweep(root: Path, spec: StudySpec, given: dict[str, Any]) -> str:
    """The name of a sweep, as the command makes it."""
    values, origin, _ = configuration(spec, root, given)
    points = sweeps.design(spec, {"learning_rate": [0.1, 0.01]}, 8, "grid")
    return run(sweeps.sweep(spec, points, values, 1), root / SWEEPS, PLACES, QUIET, origin).name


def test_a_sweep_is_of_the_trial_or_the_defaults_that_it_was_made_from(tmp_path: Path) -> None:
    before = sweep(tmp_path, toy_spec(name="mine", method="mugan"), {})
    spec = searched(tmp_path, "mine")
    after = sweep(tmp_path, spec, {"temperature": 2.0})
    assert made_from(tmp_path, SWEEPS) == {
        before: [Origin("mine", None)],
        after: [Origin("mine", 0, {"temperature": 2.0})],
    }


def test_repeats_are_of_the_trials_that_were_repeated(tmp_path: Path) -> None:
    specs = [toy_spec(name=n, method=m, trials=3) for n, m in (("a", "mugan"), ("b", "finetune"))]
    compare(specs, tmp_path, PLACES, QUIET, top=2, seeds=1, base_seeds=2)
    assert made_from(tmp_path, CONFIRMED) == {
        f"{name}-{trial}-base-{seed}": [Origin(name, trial)]
        for name in "ab"
        for trial in (0, 1)
        for seed in (0, 1)
    }


def test_relearning_is_measured_of_repeats_alone(tmp_path: Path) -> None:
    spec = toy_spec(name="a", method="mugan", trials=3, metrics=["anamnesis", "synthetic"])
    compare([spec], tmp_path, PLACES, QUIET, top=1, seeds=1)
    kinds = {
        kind: [
            results.described(results.study_folder(root, name))["spec"]["metrics"]
            for name in results.study_names(root)
        ]
        for kind, root in (("search", tmp_path), ("repeats", tmp_path / CONFIRMED))
    }
    assert kinds == {"search": [["synthetic"]], "repeats": [["anamnesis", "synthetic"]]}


def test_a_map_that_serves_two_studies_is_of_both_and_run_once(tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        spec = toy_spec(name=name, method="mugan")
        chosen = configuration(spec, tmp_path, {"learning_rate": 0.5})
        forget_each(spec, tmp_path, PLACES, QUIET, labels=[2, 5], chosen=chosen, seeds=1)
    given = {"learning_rate": 0.5}
    found = made_from(tmp_path, CLASSES)
    assert list(found.values()) == [[Origin("one", None, given), Origin("two", None, given)]] * 2
    assert results.scan(tmp_path / CLASSES).num_rows == 2


def test_where_each_class_has_its_own_search_its_trial_is_named(tmp_path: Path) -> None:
    spec = toy_spec(name="asking", method="mugan", trials=2)
    forget_each(spec, tmp_path, PLACES, QUIET, labels=[5], chosen=None, seeds=1)
    own = "mugan-digits-allcnn-forget-5"
    assert list(made_from(tmp_path, CLASSES).values()) == [[Origin("asking", 0, {}, searched=own)]]
    assert str(Origin("asking", 0, {}, searched=own)) == f"trial 0 of study {own}"


def test_what_a_study_was_made_from_does_not_make_it_another(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:  # by an earlier version, which said nothing of it
        settle(ledger)
    rows = results.scan(tmp_path, "toy")
    for origin in (Origin("a", 1), Origin("b", None, {"epochs": 2}), Origin("a", 1)):
        with open_ledger(tmp_path) as ledger:
            assert ledger.finished
            ledger.record_origin(origin.stored())
    assert results.scan(tmp_path, "toy") == rows
    described = json.loads((tmp_path / "study=toy" / "study.json").read_text())
    assert described["made_from"] == [
        {"study": "a", "trial": 1, "set": {}},
        {"study": "b", "trial": None, "set": {"epochs": 2}},
    ]
    with open_ledger(tmp_path):
        pass
    assert json.loads((tmp_path / "study=toy" / "study.json").read_text()) == described


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "x",
        [3],
        [{}],
        [{"study": 3}],
        {"study": "a"},
        [{"study": "a", "trial": "1"}],
        [{"study": "a", "set": 3}],
    ],
)
def test_a_record_that_is_none_is_read_as_none_and_replaced(tmp_path: Path, stored: Any) -> None:
    assert origins({"made_from": stored}) == []


def test_the_best_of_another_scenario_of_the_same_name_is_not_taken(tmp_path: Path) -> None:
    """Its name does not tell: `run --width 0.5` and `sensitivity` without that."""
    searched(tmp_path, "mine", scenario={"width": 0.5}, space={"learning_rate": "1e-4..1e-2"})
    with pytest.raises(InvalidRequest) as refusal:
        configuration(toy_spec(name="mine", method="mugan"), tmp_path, {})
    assert only_line(str(refusal.value)) == (
        "study mine is of another scenario (scenario.width: 0.5 -> 0.25); give --study mine to "
        "begin with its best, in its scenario"
    )
    same = toy_spec(name="mine", method="mugan", scenario={"width": 0.5}, seed=3)
    assert configuration(same, tmp_path, {}).origin == Origin("mine", 0)


# Names


def test_short_names_stay_and_long_ones_that_begin_alike_do_not_collide(tmp_path: Path) -> None:
    assert cut("a" * 50, 50) == "a" * 50
    long = ["x" * 95 + end for end in ("one", "two")]
    for most in (50, 80):
        first, second = (cut(name, most) for name in long)
        assert len(first) == len(second) == most
        assert first != second
    files = [tables.as_toml(toy_row(0, study=name), toy_spec().model_dump()) for name in long]
    assert len({tomllib.loads(file)["name"] for file in files}) == 2
    assert confirmed_name("toy", 7, 2) == "toy-7-base-2"
    for seed in (0, 2**63 - 1):
        assert len(confirmed_name(long[0], 123_456, seed)) <= 100
    values, _, _ = configuration(toy_spec(name="a", method="mugan"), tmp_path, {})
    points: list[dict[str, Any]] = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    named = [
        sweeps.sweep(toy_spec(name=name, method="mugan"), points, values, 1).name for name in long
    ]
    assert len(set(named)) == 2


def test_long_names_that_begin_alike_are_repeated_apart(tmp_path: Path) -> None:
    names = ["x" * 95 + end for end in ("one", "two")]
    specs = [
        toy_spec(name=name, method="finetune", trials=2, seed=seed)
        for seed, name in enumerate(names)
    ]
    compare(specs, tmp_path, PLACES, QUIET, top=1, seeds=1)
    found = made_from(tmp_path, CONFIRMED)
    assert sorted(origin.study for (origin,) in found.values()) == names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("toy-3-base-0", (Origin("toy", 3), 0)),
        ("toy-1-2-base-10", (Origin("toy-1", 2), 10)),
        ("a" * 79 + "-3-base-0", (Origin("a" * 79, 3), 0)),
        ("a" * 80 + "-3-base-0", None),
        ("toy-base-0", None),
        ("toy", None),
    ],
)
def test_a_name_tells_what_was_repeated_unless_it_may_have_been_cut(
    name: str, expected: tuple[Origin, int] | None
) -> None:
    assert named_origin(name) == expected


def test_only_studies_of_one_scenario_are_compared(tmp_path: Path) -> None:
    given = {"name": "b", "scenario": {"forget": [5], "precision": "bfloat16"}}
    specs = [resolve(validate(v), PLACES) for v in ({"name": "a"}, given)]
    with pytest.raises(InvalidRequest) as refusal:
        compare(specs, tmp_path, PLACES, QUIET)
    assert only_line(str(refusal.value)) == (
        "studies a and b are of different scenarios (forget [3] and [5]) and cannot be compared"
    )
    assert not list(tmp_path.iterdir())


def test_nothing_varies_in_the_repeats_of_a_trial_that_an_earlier_version_made() -> None:
    spec = resolve(StudySpec(method="finetune"), NOWHERE)
    again = repeated(spec, "again", 2, {"learning_rate": 1e-4, "epochs": 1, "batch_size": 64})
    assert again.space["batch_norm"] == "train"
    assert SearchSpace(again.method, again.space).distributions == {}
