"""Designs of sweeps, and the studies that run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.definition.spec import StudySpec, pool_seed
from search.designs import sweeps
from search.designs.repeats import Origin, best_of, configuration, repeated, same_but, stored
from search.ledger.ledger import Ledger
from search.store import results
from tests.search.toys import FINGERPRINT, settle, toy_row, toy_spec, write_study
from trainables import methods
from trainables.errors import InvalidRequest


@pytest.fixture(scope="module")
def spec() -> StudySpec:
    return toy_spec(method="mugan", name="searched")


def values(points: list[dict[str, Any]], name: str) -> list[Any]:
    return [point[name] for point in points]


def test_a_grid_over_a_logarithmic_range_is_even_on_its_scale(spec: StudySpec) -> None:
    points = sweeps.design(spec, {"learning_rate": "1e-5..1e-1"}, 5, "grid")
    assert values(points, "learning_rate") == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1])


def test_without_values_the_studys_own_range_is_taken(spec: StudySpec) -> None:
    points = sweeps.design(spec, {"samples_per_class": None}, 3, "grid")
    assert values(points, "samples_per_class")[0] == 100
    assert values(points, "samples_per_class")[-1] == 700, "what suits digits"
    points = sweeps.design(spec, {"temperature": None}, 3, "grid")
    assert values(points, "temperature") == [1.0, 2.0, 4.0, 8.0], "of choices all"


def test_listed_values_are_taken_as_they_are_beyond_the_range_too(spec: StudySpec) -> None:
    known = methods.hyperparameters("mugan")["direction"]
    wanted: dict[str, Any] = {"samples_per_class": [10_000, 5], "direction": known}
    points = sweeps.design(spec, wanted, 8, "grid")
    assert points == [
        {"samples_per_class": 10_000, "direction": known},
        {"samples_per_class": 5, "direction": known},
    ]


def test_two_hyperparameters_give_every_combination(spec: StudySpec) -> None:
    wanted = {"learning_rate": [1e-3, 1e-2], "temperature": [1, 2, 4]}
    points = sweeps.design(spec, wanted, 8, "grid")
    assert len(points) == 6
    assert {tuple(point.values()) for point in points} == {
        (rate, heat) for rate in (1e-3, 1e-2) for heat in (1, 2, 4)
    }


def test_sobol_points_lie_in_the_ranges_and_are_spread(spec: StudySpec) -> None:
    wanted = {"learning_rate": "1e-5..1e-1", "samples_per_class": "100..200"}
    points = sweeps.design(spec, wanted, 16, "sobol")
    assert len(points) == 16
    assert all(1e-5 <= rate <= 1e-1 for rate in values(points, "learning_rate"))
    low = sum(rate < 1e-3 for rate in values(points, "learning_rate"))
    assert low == 8, "a Sobol design of 16 has half its points in each half"
    assert points == sweeps.design(spec, wanted, 16, "sobol")
    assert points[:5] == sweeps.design(spec, wanted, 5, "sobol")


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"rate": None}, "unknown hyperparameter of mugan 'rate'"),
        ({"direction": None}, "direction does not vary"),
        ({"learning_rate": "1e-1..1e-5"}, "did you mean"),
        ({"learning_rate": ["a"]}, "a number is needed"),
        ({"learning_rate": [0.1, -1]}, "must be above 0"),
        ({"learning_rate": list(range(1, 200)), "temperature": list(range(1, 200))}, "10,000 at"),
    ],
)
def test_a_design_that_is_none_is_refused(
    spec: StudySpec, wanted: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        sweeps.design(spec, wanted, 8, "grid")


@pytest.mark.parametrize(
    ("method", "swept"),
    [
        ("mugan", ["samples_per_class", "learning_rate"]),
        ("zmugan", ["samples_per_generator", "learning_rate", "generators"]),
        ("original", []),
    ],
)
def test_the_papers_sweeps_are_those_of_its_tables(method: str, swept: list[str]) -> None:
    assert [name for each in sweeps.paper_sweeps(method) for name in each] == swept


@settings(deadline=None, max_examples=25)  # ledgers write to disk, which takes what it takes
@given(repeats=st.integers(1, 4), count=st.integers(1, 5))
def test_every_point_is_run_equally_often_with_seeds_of_its_own(repeats: int, count: int) -> None:
    import tempfile

    about = toy_spec(method="mugan", name="searched")
    points = sweeps.design(about, {"learning_rate": [10.0**-n for n in range(count)]}, 8, "grid")
    fixed = methods.hyperparameters("mugan")
    sweep = sweeps.sweep(about, points, fixed, repeats)
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(sweep, Path(folder), FINGERPRINT) as ledger,
    ):
        tickets = settle(ledger)
    rates = [ticket.hyperparameters["learning_rate"] for ticket in tickets]
    assert sorted(rates) == sorted(values(points, "learning_rate") * repeats)
    assert len({ticket.seed for ticket in tickets}) == len(tickets)
    others = {k: v for k, v in fixed.items() if k != "learning_rate"}
    assert all(ticket.hyperparameters.items() >= others.items() for ticket in tickets)


def test_the_same_sweep_has_the_same_name_and_another_one_another(spec: StudySpec) -> None:
    fixed = methods.hyperparameters("mugan")
    points = sweeps.design(spec, {"learning_rate": [1e-3, 1e-2]}, 8, "grid")
    named = sweeps.sweep(spec, points, fixed, 2).name
    assert named == sweeps.sweep(spec, points, fixed, 5).name, "more repeats go on with it"
    assert named != sweeps.sweep(spec, points, {**fixed, "temperature": 2.0}, 2).name
    assert named != sweeps.sweep(spec, points[:1], fixed, 2).name
    assert sweeps.swept(sweeps.sweep(spec, points, fixed, 2).model_dump()) == ["learning_rate"]


def test_repeats_have_other_seeds_and_samples_than_the_search_and_no_pruner(
    spec: StudySpec,
) -> None:
    again = repeated(spec, "again", 3, {"learning_rate": 0.1})
    assert (pool_seed(spec), pool_seed(again)) == (spec.seed, None)
    assert (again.name, again.trials, again.pruner) == ("again", 3, "none")
    assert again.seed != spec.seed
    assert again.scenario == spec.scenario


class TestTheConfiguration:
    def test_is_the_best_of_the_study(self, tmp_path: Path, spec: StudySpec) -> None:
        rows = [toy_row(1, {"learning_rate": 0.5}), toy_row(0, {"learning_rate": 0.25})]
        write_study(tmp_path, rows, "searched")
        found, origin, told = configuration(spec, tmp_path, {"temperature": 2.0})
        assert (found["learning_rate"], found["temperature"]) == (0.25, 2.0)
        assert told == "the best of study searched (trial 0), with temperature=2.0"
        assert origin == Origin("searched", 0, {"temperature": 2.0})
        assert str(origin) == "trial 0 of study searched, with temperature=2.0 instead"

    def test_is_the_methods_defaults_where_no_trial_completed(
        self, tmp_path: Path, spec: StudySpec
    ) -> None:
        expected = methods.hyperparameters("mugan")
        assert configuration(spec, tmp_path, {})[0] == expected
        write_study(tmp_path, [toy_row(0, state="diverged")], "searched")
        found, origin, told = configuration(spec, tmp_path, {})
        assert found == expected
        assert "no complete trial" in told
        assert origin == Origin("searched", None)
        assert str(origin) == "the method's defaults, for study searched"
        assert best_of(spec, tmp_path) is None

    def test_must_be_one_that_the_method_takes(self, tmp_path: Path, spec: StudySpec) -> None:
        with pytest.raises(InvalidRequest, match="temperature"):
            configuration(spec, tmp_path, {"temperature": -1})


def test_a_stored_study_is_read_back_or_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path, [toy_row(0)], "kept")
    assert stored(tmp_path, "kept").name == "kept"
    (folder / "study.json").write_text("{")
    with pytest.raises(InvalidRequest, match="not readable"):
        stored(tmp_path, "kept")
    with pytest.raises(InvalidRequest, match="unknown study"):
        stored(tmp_path, "lost")


def test_studies_of_one_scenario_are_known_whatever_else_differs(spec: StudySpec) -> None:
    mine = spec.model_dump(mode="json")
    sweep = repeated(spec, "x", 9, {"learning_rate": 0.1}).model_dump(mode="json")
    assert same_but(mine, sweep)
    forget = {**mine, "scenario": {**mine["scenario"], "forget": [5]}}
    assert not same_but(mine, forget)
    assert same_but(mine, forget, "forget")
    assert not same_but(mine, {**mine, "method": "jit"})
    assert results.study_names(Path("/nonexistent")) == []
