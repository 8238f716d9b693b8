"""Which trials can be ranked against each other, and what their groups are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.designs.repeats import same_but
from search.store import results
from search.store.scenarios import about, comparable
from tests.search.report.samples import describe
from tests.search.toys import toy_row, write_study


def titles(root: Path) -> list[str]:
    return [group.title for group in comparable(root)[0]]


DIGITS = "digits, allcnn, forgetting class 3"


@pytest.mark.parametrize(
    "same",
    [
        {"method": "finetune"},
        {"scenario": {"precision": "bfloat16", "anamnesis_alpha": 0.1, "gan": "cgan"}},
        {"seed": 5, "objective": "gap", "trials": 7},
        {"inversion": {"steps": 7}},
    ],
)
def test_what_does_not_change_the_models_to_judge_by_is_ranked_together(
    tmp_path: Path, same: dict[str, Any]
) -> None:
    write_study(tmp_path, [toy_row(0)], "one")
    write_study(tmp_path, [toy_row(1)], "two", **same)
    (group,) = comparable(tmp_path)[0]
    assert group.title == DIGITS
    assert group.table["study"].to_pylist() == ["one", "two"]


@pytest.mark.parametrize(
    ("other", "marks"),
    [
        ({"scenario": {"seed": 1}}, ("seed 0", "seed 1")),
        ({"scenario": {"epochs": 7}}, ("epochs 30", "epochs 7")),
        ({"scenario": {"width": 0.5}}, ("width 0.25", "width 0.5")),
        ({"scenario": {"evaluation_seed": 2}}, ("evaluation_seed 0", "evaluation_seed 2")),
    ],
)
def test_what_changes_them_sets_apart_and_is_named(
    tmp_path: Path, other: dict[str, Any], marks: tuple[str, str]
) -> None:
    write_study(tmp_path, [toy_row(0)], "one")
    write_study(tmp_path, [toy_row(0)], "two", **other)
    assert titles(tmp_path) == [f"{DIGITS}, {mark}" for mark in marks]


def test_a_study_of_an_earlier_version_is_ranked_with_those_of_its_scenario(tmp_path: Path) -> None:
    split = {"validation_from": "training"}  # as a study without weights has it now
    write_study(tmp_path, [toy_row(0)], "now", scenario=split)
    folder = write_study(tmp_path, [toy_row(1)], "then", scenario=split)
    spec = (results.load_json(folder / "study.json") or {})["spec"]
    del spec["scenario"]["validation_from"], spec["scenario"]["held_out"]
    describe(folder, spec=spec)
    assert titles(tmp_path) == [DIGITS]
    assert same_but(
        *(results.described(tmp_path / f"study={name}")["spec"] for name in ("now", "then"))
    )


def test_other_datasets_models_and_classes_are_apart_by_what_everybody_calls_them(
    tmp_path: Path,
) -> None:
    write_study(tmp_path, [toy_row(0, forget="1,2")], "classes", scenario={"forget": [1, 2]})
    write_study(tmp_path, [toy_row(0)], "one")
    write_study(tmp_path, [toy_row(0, model="resnet9")], "two", scenario={"model": "resnet9"})
    assert titles(tmp_path) == [
        *("digits, allcnn, forgetting classes 1 and 2", DIGITS),
        "digits, resnet9, forgetting class 3",
    ]


def test_synthetic_figures_are_ranked_among_those_of_one_inversion(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0)], "real")
    for name, steps in (("one", 500), ("two", 900), ("three", 500)):
        given = {"objective": "synthetic", "inversion": {"steps": steps}}
        write_study(tmp_path, [toy_row(0, objective="synthetic")], name, **given)
    found = {tuple(g.table["study"].to_pylist()): g.title for g in comparable(tmp_path)[0]}
    assert found == {
        ("real",): DIGITS,
        ("one", "three"): f"{DIGITS}, steered by synthetic images, inversion.steps 500",
        ("two",): f"{DIGITS}, steered by synthetic images, inversion.steps 900",
    }


def test_one_that_says_nothing_of_its_scenario_stands_alone(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0)], "known")
    for name in ("lost", "torn"):
        write_study(tmp_path, [toy_row(0)], name)
    (tmp_path / "study=lost" / "study.json").unlink()
    (tmp_path / "study=torn" / "study.json").write_text('{"spec": 3}')
    found = titles(tmp_path)
    assert len(set(found)) == 3
    assert [title.partition("study ")[2] for title in found[1:]] == ["lost", "torn"]


def test_a_file_whose_content_changed_is_another_dataset(tmp_path: Path) -> None:
    for name, content in (("one", "aaa"), ("two", "bbb"), ("three", "aaa")):
        row = toy_row(0, dataset="/data/own.npz")
        folder = write_study(tmp_path, [row], name)
        spec = (results.load_json(folder / "study.json") or {})["spec"]
        spec["scenario"]["dataset"] = "/data/own.npz"
        describe(folder, spec=spec, dataset_fingerprint=content)
    assert titles(tmp_path) == [
        f"own.npz, allcnn, forgetting class 3, content {content}" for content in ("aaa", "bbb")
    ]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        path = f"/{name}/own.npz"
        folder = write_study(tmp_path, [toy_row(0, dataset=path)], name)
        spec = (results.load_json(folder / "study.json") or {})["spec"]
        spec["scenario"]["dataset"] = path
        describe(folder, spec=spec)
    assert titles(tmp_path) == [
        f"own.npz, allcnn, forgetting class 3, dataset /{name}/own.npz" for name in ("one", "two")
    ]


def test_rows_count_where_they_say_otherwise_than_study_json(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0)], "one")
    write_study(tmp_path, [toy_row(0, dataset="mnist")], "two")
    assert titles(tmp_path) == [DIGITS, "mnist, allcnn, forgetting class 3"]


def test_studies_without_trials_are_in_no_group_and_damage_is_named(tmp_path: Path) -> None:
    folder = write_study(tmp_path, [toy_row(0)], "one")
    write_study(tmp_path, [], "empty")
    (folder / "trials" / "part-000009-1.parquet").write_bytes(b"broken")
    groups, damaged = comparable(tmp_path)
    assert [group.table.num_rows for group in groups] == [1]
    assert [item.path.name for item in damaged] == ["part-000009-1.parquet"]


def test_classes_are_called_by_their_names_too_where_rows_have_them() -> None:
    assert about(toy_row(0)) == DIGITS
    assert about(toy_row(0, forget="1", forget_names=["2"])).endswith("forgetting class 1 ('2')")
    assert about(toy_row(0, forget="1", forget_names=None)).endswith("forgetting class 1")


def test_gaps_over_other_terms_are_not_ranked_against_each_other(tmp_path: Path) -> None:
    usual = "forget_accuracy,retain_accuracy,mia"
    for name, terms in (("old", None), ("usual", usual), ("probed", f"{usual},probe")):
        write_study(tmp_path, [toy_row(0, gap_terms=terms, m_probe_gap=2.0)], name)
    found = {tuple(g.table["study"].to_pylist()): g.title for g in comparable(tmp_path)[0]}
    assert found == {
        ("old", "usual"): DIGITS,
        ("probed",): f"{DIGITS}, gap over forget_accuracy, retain_accuracy, mia, probe",
    }


def test_a_group_has_the_control_of_the_first_study_that_has_one(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0)], "old")
    describe(write_study(tmp_path, [toy_row(0)], "two"), references={"control": {"gap": 0.5}})
    (group,) = comparable(tmp_path)[0]
    assert group.control == {"gap": 0.5}
