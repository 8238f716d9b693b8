"""Specifications: what is read, merged and filled in, and what is refused with which line."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from search.definition.checking import check_name
from search.definition.differing import differences, keeping_split
from search.definition.earlier import stored
from search.definition.reading import load_spec, validate
from search.definition.resolved import fingerprint, notes, scenario_of
from search.definition.resolving import _bounded, resolve
from search.definition.spec import (
    EXECUTION,
    InversionSpec,
    Resources,
    ScenarioSpec,
    StudySpec,
    measured,
    pool_seed,
)
from tests.search.toys import NOWHERE, only_line
from trainables.data.sources import read
from trainables.errors import DataError, InvalidRequest
from trainables.models import catalogue
from trainables.scenario import Scenario
from trainables.workbench import save_model


def refusal(values: dict[str, Any], origin: str = "") -> str:
    """The one line that values are refused with, when they are validated or resolved."""
    with pytest.raises(InvalidRequest) as caught:
        resolve(validate(values, origin), NOWHERE)
    return only_line(str(caught.value))


def toml(folder: Path, text: str) -> Path:
    """A specification file."""
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_defaults_are_a_hundred_trials_of_mugan_that_forget_the_three_of_digits() -> None:
    spec = resolve(StudySpec(), NOWHERE)
    assert (spec.name, spec.method) == ("mugan-digits-allcnn-forget-3", "mugan")
    assert (spec.trials, spec.sampler, spec.objective, spec.seed) == (100, "tpe", "pareto", 0)
    assert scenario_of(spec) == Scenario(
        dataset="digits",
        forget=(3,),
        model="allcnn",
        width=0.25,
        validation_fraction=0.2,
        gan_steps=1_000,
    )


def test_resolving_twice_changes_nothing() -> None:
    once = resolve(StudySpec(), NOWHERE)
    assert resolve(once, NOWHERE) == once


def test_a_resolved_specification_survives_json() -> None:
    once = resolve(validate({"space": {"temperature": [1.0, 2]}}), NOWHERE)
    assert validate(once.model_dump(mode="json")) == once


def test_no_file_and_no_flags_are_the_defaults() -> None:
    assert load_spec(None, {}) == StudySpec()


def test_a_flag_replaces_one_value_of_the_file_and_leaves_the_others(tmp_path: Path) -> None:
    path = toml(
        tmp_path,
        """
        name = "mine"
        trials = 20
        seed = 7
        [scenario]
        dataset = "digits"
        forget = [1, "2"]
        width = 0.5
        [space]
        learning_rate = "1e-5..1e-2"
        temperature = 2.0
        """,
    )
    found = load_spec(
        path, {"trials": 200, "scenario": {"width": 0.1}, "space": {"temperature": 4.0}}
    )
    assert (found.name, found.trials, found.seed) == ("mine", 200, 7)
    assert (found.scenario.forget, found.scenario.width) == ([1, "2"], 0.1)
    assert found.space == {"learning_rate": "1e-5..1e-2", "temperature": 4.0}


def test_flags_replace_lists_as_a_whole(tmp_path: Path) -> None:
    path = toml(tmp_path, "scenario.forget = [1, 2]")
    assert load_spec(path, {"scenario": {"forget": ["5"]}}).scenario.forget == ["5"]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_spec(toml(tmp_path, ""), {}) == StudySpec()


@pytest.mark.parametrize(
    ("text", "wrong", "possible"),
    [
        ("trails = 3", "unknown key 'trails'; did you mean 'trials'?", "sampler"),
        ("zzz = 3", "unknown key 'zzz'", "method"),
        ("[scenario]\nforgit = [3]", "unknown key of scenario 'forgit'", "validation_fraction"),
        ("[resources]\ngpus = 1", "unknown key of resources 'gpus'", "gpus_per_trial"),
        ("[resources]\nwidth = 1", "unknown key of resources 'width'", "cpus_per_trial"),
        ("[search]\nwidth = 1", "unknown key 'search'", "method"),
    ],
)
def test_an_unknown_key_is_refused_with_those_of_its_section(
    tmp_path: Path, text: str, wrong: str, possible: str
) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(InvalidRequest) as caught:
        load_spec(path, {})
    message = only_line(str(caught.value))
    assert message.startswith(f"{path}: ")
    assert wrong in message
    assert possible in message


def test_a_mistyped_key_of_a_section_is_refused_with_the_nearest_one() -> None:
    assert "did you mean 'forget'?" in refusal({"scenario": {"forgt": [3]}})


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"trials": "many"}, "trials is 'many'"),
        ({"trials": "100"}, "trials is '100'"),
        ({"trials": 0}, "trials is 0"),
        ({"trials": -3}, "trials is -3"),
        ({"trials": 1.5}, "trials is 1.5"),
        ({"trials": [1]}, "trials is [1]"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": -1}, "seed is -1"),
        ({"retries": -1}, "retries is -1"),
        ({"trial_timeout": 0}, "trial_timeout is 0"),
        ({"trial_timeout": -1}, "trial_timeout is -1"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"mia_tolerance": -0.5}, "mia_tolerance is -0.5"),
        ({"mia_tolerance": math.nan}, "mia_tolerance is nan"),
        ({"objective": "both"}, "objective is 'both'"),
        ({"name": 3}, "name is 3"),
        ({"method": 3}, "method is 3"),
        ({"scenario": {"width": -1}}, "scenario.width is -1"),
        ({"scenario": {"width": 0}}, "scenario.width is 0"),
        ({"scenario": {"width": math.nan}}, "scenario.width is nan"),
        ({"scenario": {"width": 1e9}}, "scenario.width is 1000000000.0"),
        ({"scenario": {"width": "wide"}}, "scenario.width is 'wide'"),
        ({"scenario": {"seed": -1}}, "scenario.seed is -1"),
        ({"scenario": {"epochs": 0}}, "scenario.epochs is 0"),
        ({"scenario": {"batch_size": 1}}, "scenario.batch_size is 1"),
        ({"scenario": {"learning_rate": 0}}, "scenario.learning_rate is 0"),
        ({"scenario": {"gan_steps": 0}}, "scenario.gan_steps is 0"),
        ({"scenario": {"gan_width": 0}}, "scenario.gan_width is 0"),
        ({"scenario": {"precision": "half"}}, "scenario.precision is 'half'"),
        ({"curves": 1}, "curves is 1"),
        ({"scenario": {"validation_fraction": 0}}, "scenario.validation_fraction is 0"),
        ({"scenario": {"validation_fraction": 1}}, "scenario.validation_fraction is 1"),
        ({"scenario": {"forget": 3}}, "scenario.forget is 3"),
        ({"scenario": {"forget": [1.5]}}, "scenario.forget.0 is 1.5"),
        ({"scenario": {"forget": [True]}}, "scenario.forget.0 is True: give a whole number, which"),
        ({"scenario": {"forget": "3"}}, "scenario.forget is '3': give a list of classes"),
        ({"scenario": {"forget": np.array(3)}}, "scenario.forget is array(3): give a list of"),
        ({"scenario": 3}, "scenario is 3"),
        ({"resources": {"cpus_per_trial": 0}}, "resources.cpus_per_trial is 0"),
        ({"resources": {"cpus_per_trial": 0.5}}, "resources.cpus_per_trial is 0.5"),
        ({"resources": {"gpus_per_trial": -1}}, "resources.gpus_per_trial is -1"),
        ({"resources": {"fuse": 0}}, "resources.fuse is 0: it should be a whole number from 1 on"),
        ({"space": {"temperature": {"low": 1}}}, "space.temperature: give a value"),
        ({"space": {"temperature": [[1]]}}, "space.temperature: give a value"),
        ({"space": {"temperature": None}}, "space.temperature: give a value"),
        ({"space": {"interval": [None]}}, "space.interval: give a value"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_itself(values: dict[str, Any], key: str) -> None:
    message = refusal(values, "study.toml")
    assert message.startswith(f"study.toml: {key}")


@pytest.mark.parametrize(
    "values",
    [
        {"scenario": {"learning_rate": math.inf}},
        {"trial_timeout": math.inf},
    ],
)
def test_infinite_values_are_refused(values: dict[str, Any]) -> None:
    assert "inf" in refusal(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seed": 2**32}, "seed is 4294967296: possible: 0 to 4294967295"),
        ({"scenario": {"seed": 2**64}}, f"scenario.seed is {2**64}: possible: 0 to 4294967295"),
        ({"scenario": {"weights": "a\0b"}}, "a path has no NUL and at most 4096 bytes"),
        ({"scenario": {"held_out": "x" * 10**5}}, "a path has no NUL and at most 4096 bytes"),
        ({"scenario": {"dataset": "x" * 10**5}}, "a path has no NUL and at most 4096 bytes"),
        ({"scenario": {"evaluation_seed": 2**64}}, "possible: 0 to 4294967295"),
        ({"trials": 10**10}, "trials is 10000000000: possible: 1 to 1000000000"),
        ({"trial_timeout": 1e10}, "possible: above 0 to 1e+09"),
        ({"scenario": {"learning_rate": 1e39}}, "possible: above 0 to 1e+30"),
        ({"inversion": {"bn_weight": 1e39}}, "possible: 0 to 1e+30"),
        ({"inversion": {"batch_size": 2**40}}, "possible: 2 to 1048576"),
        ({"scenario": {"image_size": [32, 10**6]}}, "possible: 1 to 4096"),
        ({"mia_tolerance": 101}, "possible: 0 to 100"),
        ({"resources": {"cpus_per_trial": 10**6}}, "possible: 1 to 1024"),
        ({"resources": {"gpus_per_trial": 1.5}}, "a fraction from 0.0001 on, or whole GPUs"),
        ({"resources": {"gpus_per_trial": 1e-5}}, "a fraction from 0.0001 on, or whole GPUs"),
        ({"resources": {"fuse": 10**6}}, "from 1 on, or auto (at most 1024)"),
        ({"scenario": {"width": 10**400}}, "scenario.width is 1000"),
        ({"seed": 1 << 20_000}, "seed is a number of thousands of digits"),
        ({"name": ["x" * 10**5]}, "name is ['xxx"),
    ],
)
def test_numbers_that_the_machine_cannot_hold_are_refused_with_what_is_possible(
    values: dict[str, Any], said: str
) -> None:
    message = refusal(values)
    assert said in message
    assert len(message) < 400


@pytest.mark.parametrize("section", [StudySpec, ScenarioSpec, InversionSpec, Resources])
@pytest.mark.parametrize(
    "value",
    [10**30, -(10**30), 1 << 20_000, 1e308, math.inf, -math.inf, math.nan, True, "9" * 5000, None],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_key_is_given_it_is_taken_or_refused_in_a_line(
    section: type[Any], value: Any
) -> None:
    names = {ScenarioSpec: "scenario", InversionSpec: "inversion", Resources: "resources"}
    for key in section.model_fields:
        values = {names[section]: {key: value}} if section in names else {key: value}
        said = "taken"
        try:
            validate(values)
        except InvalidRequest as error:
            said = str(error)
        assert len(only_line(said)) < 500


def test_seeds_beyond_the_largest_would_be_others_again() -> None:
    first, again = (
        torch.rand(3, generator=torch.Generator().manual_seed(seed)) for seed in (5, 2**32 + 5)
    )
    assert torch.equal(first, again)
    assert validate({"seed": 2**32 - 1}).seed == 2**32 - 1


def test_truth_values_are_no_numbers() -> None:
    assert refusal({"trials": True}).startswith("trials is True")


def test_a_space_that_is_no_table_is_refused_by_its_name() -> None:
    assert refusal({"space": 3}).startswith("space: ")


def test_whole_numbers_are_taken_for_fractions() -> None:
    values = {"mia_tolerance": 3, "trial_timeout": 5, "scenario": {"width": 1}}
    spec = validate(values)
    assert (spec.mia_tolerance, spec.trial_timeout, spec.scenario.width) == (3.0, 5.0, 1.0)


@pytest.mark.parametrize("name", ["a", "A1", "9", "a.b", "a_b-c.d", "x" * 100, "a..b"])
def test_plain_names_are_taken(name: str) -> None:
    check_name(name)
    assert resolve(validate({"name": name}), NOWHERE).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../up",
        "a/b",
        "/a",
        "a\\b",
        "a\0b",
        "a\n",
        "a b",
        ".a",
        "-a",
        "_a",
        "é",
        "a=b",
        "x" * 101,
        "x" * 200,
    ],
)
def test_names_that_are_no_plain_folder_names_are_refused(name: str) -> None:
    message = refusal({"name": name})
    assert message.startswith("study name ")
    assert "possible are up to 100 letters" in message
    assert len(message) < 250


@given(name=st.text(max_size=120))
def test_a_name_is_taken_only_if_it_names_one_visible_folder(name: str) -> None:
    try:
        check_name(name)
    except InvalidRequest:
        return
    assert 1 <= len(name) <= 100
    assert Path("results", f"study={name}").parts == ("results", f"study={name}")
    assert name.isascii()
    assert name.isprintable()


@pytest.mark.parametrize(
    ("values", "wrong", "nearest"),
    [
        ({"scenario": {"dataset": "digit"}}, "unknown dataset 'digit'", "'digits'"),
        ({"scenario": {"model": "alcnn"}}, "unknown model 'alcnn'", "'allcnn'"),
        ({"method": "mugn"}, "unknown method 'mugn'", "'mugan'"),
        ({"sampler": "tpa"}, "unknown sampler 'tpa'", "'tpe'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(
    values: dict[str, Any], wrong: str, nearest: str
) -> None:
    message = refusal(values)
    assert wrong in message
    assert f"did you mean {nearest}?" in message


@pytest.mark.parametrize(
    ("forget", "wrong"),
    [
        ([10], "class 10 is out of range: digits has classes 0 to 9"),
        ([-1], "class -1 is out of range"),
        (["ten"], "unknown class of digits 'ten'"),
        (list(range(10)), "all 10 classes of digits"),
        ([str(label) for label in range(10)], "all 10 classes of digits"),
        ([], "no forget class given"),
    ],
)
def test_forget_classes_must_exist_and_leave_some(forget: list[Any], wrong: str) -> None:
    assert wrong in refusal({"scenario": {"forget": forget}})


@pytest.mark.parametrize("forget", [(2, "7"), np.array([2, 7]), [np.int64(2), np.str_("7")]])
def test_forget_classes_may_be_numpy_s_and_in_any_sequence(forget: Any) -> None:
    spec = ScenarioSpec(forget=forget)
    assert {type(item) for item in spec.forget or []} <= {int, str}
    assert resolve(StudySpec(scenario=spec), NOWHERE).scenario.forget == [2, 7]


def test_forget_classes_become_sorted_numbers_without_repetition() -> None:
    spec = resolve(validate({"scenario": {"forget": ["7", 2, "2", 7]}}), NOWHERE)
    assert spec.scenario.forget == [2, 7]
    assert spec.name == "mugan-digits-allcnn-forget-2-7"


def test_an_unknown_hyperparameter_of_the_space_is_refused() -> None:
    assert "did you mean 'temperature'?" in refusal({"space": {"temperatur": 2.0}})


def test_samples_per_class_are_capped_to_what_suits_digits() -> None:
    assert resolve(StudySpec(), NOWHERE).space == {"samples_per_class": "100..700"}


@pytest.mark.parametrize("given_by_user", ["50..20000", 5000, [100, 5000], "100..10000"])
def test_samples_per_class_are_not_capped_when_the_user_says_what_they_are(
    given_by_user: Any,
) -> None:
    spec = resolve(validate({"space": {"samples_per_class": given_by_user}}), NOWHERE)
    assert spec.space == {"samples_per_class": given_by_user}


def test_a_cap_leaves_the_user_s_other_overrides() -> None:
    spec = resolve(validate({"space": {"temperature": 2.0}}), NOWHERE)
    assert spec.space == {"temperature": 2.0, "samples_per_class": "100..700"}


def test_a_method_without_samples_per_class_is_not_capped() -> None:
    assert resolve(validate({"method": "finetune"}), NOWHERE).space == {}


@pytest.mark.parametrize(
    ("method", "expected"),
    [("zmugan", "200..2000"), ("zdelete", "200..2000")],
)
def test_samples_of_a_generator_suit_the_number_of_classes(method: str, expected: str) -> None:
    """Of digits' ten, twenty of each at the least and two hundred at the most."""
    spec = resolve(validate({"method": method}), NOWHERE)
    assert spec.space == {"samples_per_generator": expected}
    assert resolve(spec, NOWHERE) == spec


@pytest.mark.parametrize(
    ("classes", "method", "expected"),
    [
        (3, "zmugan", None),
        (3, "zdelete", None),
        (5, "zdelete", None),
        (7, "zmugan", "140..2000"),
        (7, "zdelete", "140..1400"),
        (100, "zmugan", "2000..20000"),
        (100, "zdelete", "2000..20000"),
        (100, "finetune", None),
        (100, "mugan", None),
    ],
)
def test_bounds_grow_with_the_classes(classes: int, method: str, expected: str | None) -> None:
    found = _bounded(StudySpec(method=method), classes)
    assert found.get("samples_per_generator") == expected


@pytest.mark.parametrize("given_by_user", ["50..300", 150, [100, 5000]])
def test_samples_of_a_generator_are_the_user_s_where_given(given_by_user: Any) -> None:
    values = {"method": "zmugan", "space": {"samples_per_generator": given_by_user}}
    assert resolve(validate(values), NOWHERE).space == values["space"]


def test_a_dataset_of_the_user_s_is_not_capped(three_digits: Path) -> None:
    values = {"dataset": str(three_digits), "forget": [1]}
    assert resolve(validate({"scenario": values}), NOWHERE).space == {}


def test_a_relative_dataset_becomes_an_absolute_path(
    three_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(three_digits.parent)
    values = {"dataset": f"./{three_digits.name}", "forget": [1]}
    spec = resolve(validate({"scenario": values}), NOWHERE)
    assert spec.scenario.dataset == str(three_digits.resolve())
    assert spec.name == "mugan-three-digits-allcnn-forget-1"
    assert (spec.scenario.width, spec.scenario.validation_fraction) == (1.0, 0.2)
    assert spec.scenario.gan_steps == 5_000


def test_a_dataset_in_the_home_folder_becomes_an_absolute_path(
    three_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(three_digits.parent))
    values = {"dataset": f"~/{three_digits.name}", "forget": [1]}
    spec = resolve(validate({"scenario": values}), NOWHERE)
    assert spec.scenario.dataset == str(three_digits.resolve())


def test_a_dataset_in_an_unknown_home_folder_is_refused() -> None:
    assert "~nosuchuser" in refusal({"scenario": {"dataset": "~nosuchuser/x.npz", "forget": [1]}})


def test_a_dataset_of_the_user_s_needs_a_forget_class(three_digits: Path) -> None:
    message = refusal({"scenario": {"dataset": str(three_digits)}})
    assert "say which class of" in message
    assert "--forget or scenario.forget" in message
    assert "its classes: 0, 1, 2" in message


def test_classes_of_a_dataset_of_the_user_s_are_found_by_name(
    three_digits: Path, tmp_path: Path
) -> None:
    path = tmp_path / "named.npz"
    with np.load(three_digits) as arrays:
        np.savez(path, **arrays, classes=np.array(["zero", "one", "2"]))
    values = {"dataset": str(path), "forget": ["one"]}
    assert resolve(validate({"scenario": values}), NOWHERE).scenario.forget == [1]


def test_a_missing_dataset_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.npz"
    with pytest.raises(DataError) as caught:
        resolve(validate({"scenario": {"dataset": str(path), "forget": [1]}}), NOWHERE)
    assert only_line(str(caught.value)) == f"{path}: no such file"


def test_only_allcnn_has_a_width_that_suits_the_dataset() -> None:
    spec = resolve(validate({"scenario": {"model": "vgg16"}}), NOWHERE)
    assert spec.scenario.width == 1.0
    assert spec.name == "mugan-digits-vgg16-forget-3"


def test_what_the_user_gives_is_kept_over_what_suits_the_dataset() -> None:
    values = {"width": 0.5, "validation_fraction": 0.3, "gan_steps": 7, "gan_width": 0.5, "seed": 4}
    values["precision"] = "bfloat16"
    found = resolve(validate({"scenario": values}), NOWHERE)
    assert values.items() <= found.scenario.model_dump().items()
    assert scenario_of(found).precision == "bfloat16"


def test_a_study_in_another_precision_is_another_study() -> None:
    now = resolve(validate({"scenario": {"precision": "bfloat16"}}), NOWHERE).model_dump(
        mode="json"
    )
    before = {**now, "scenario": {**now["scenario"]}}
    del before["scenario"]["precision"]  # of a version that knew but one
    assert differences(before, now) == ["scenario.precision: float32 -> bfloat16"]


def test_a_pruner_needs_one_objective() -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(validate({"pruner": "asha"}), NOWHERE)
    assert "--objective gap" in only_line(str(caught.value))
    spec = resolve(validate({"pruner": "asha", "objective": "gap"}), NOWHERE)
    assert spec.pruner == "asha"


def test_an_unknown_pruner_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InvalidRequest, match="did you mean 'median'"):
        resolve(validate({"pruner": "meddian", "objective": "gap"}), NOWHERE)


def test_a_default_name_can_always_be_used(tmp_path: Path, three_digits: Path) -> None:
    for stem in ("my data (2)", "ünï-cödé", "日本", "x" * 150, "a.b", "_"):
        path = tmp_path / f"{stem}.npz"
        path.write_bytes(three_digits.read_bytes())
        spec = resolve(
            validate({"scenario": {"dataset": str(path), "forget": [0, 1]}}),
            NOWHERE,
        )
        assert spec.name is not None
        check_name(spec.name)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_spec(tmp_path, {})
    message = only_line(str(caught.value))
    assert message.startswith(f"{tmp_path}: cannot be read")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(InvalidRequest) as caught:
        load_spec(path, {})
    assert only_line(str(caught.value)) == f"{path}: no such file"


@pytest.mark.parametrize(
    "text",
    ["trials = ", "trials 3", "[scenario", "trials = 1\ntrials = 2", "= 3", '"a'],
)
def test_invalid_toml_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(InvalidRequest) as caught:
        load_spec(path, {})
    message = only_line(str(caught.value))
    assert message.startswith(f"{path}: not valid TOML (")
    assert "line" in message or "end of document" in message


@pytest.mark.parametrize("content", [b'name = "\xff\xfe"', b"\x80", "trials=1".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        load_spec(path, {})
    assert only_line(str(caught.value)).startswith(f"{path}: ")


def changed(spec: StudySpec, **values: Any) -> list[str]:
    """The differences to the same specification with other values."""
    before = spec.model_dump(mode="json")
    return differences(before, {**before, **values})


@pytest.mark.parametrize(
    ("values", "differ"),
    [
        ({"method": "finetune"}, False),
        ({"method": "zmugan"}, True),
        ({"method": "zdelete"}, True),
        ({"method": "zdelete", "space": {"source": "gans"}}, False),
        ({"method": "emmn"}, False),
        ({"method": "emmn", "objective": "synthetic"}, True),
        ({"method": "emmn", "metrics": ["synthetic"]}, True),
    ],
)
def test_how_a_model_is_inverted_matters_to_studies_that_invert_it(
    values: dict[str, Any], differ: bool
) -> None:
    """Its defaults have changed: other studies of before go on."""
    now = validate(values).model_dump(mode="json")
    before = {**now, "inversion": {**now["inversion"], "bn_weight": 0.0}}
    expected = ["inversion.bn_weight: 0.0 -> 10.0"] if differ else []
    assert differences(before, now) == expected


def test_equal_specifications_have_no_differences() -> None:
    assert changed(resolve(StudySpec(), NOWHERE)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trials", 5),
        ("sampler", "grid"),
        ("retries", 0),
        ("trial_timeout", 9.0),
        ("concurrency", 2),
        ("resources", {"cpus_per_trial": 4}),
        ("name", "other"),
    ],
)
def test_how_and_how_long_a_study_runs_is_no_difference(key: str, value: Any) -> None:
    assert changed(resolve(StudySpec(), NOWHERE), **{key: value}) == []


def test_every_key_but_those_of_execution_says_what_a_study_is() -> None:
    spec = resolve(StudySpec(), NOWHERE)
    meaning = set(StudySpec.model_fields) - {*EXECUTION, "name"}
    assert meaning == {
        *("method", "objective", "mia_tolerance", "seed", "scenario", "inversion", "space"),
        *("pool_samples", "gap_terms"),
    }
    for key in meaning:
        assert changed(spec, **{key: "another"})[0].startswith(f"{key}: ")


def test_a_study_from_before_samples_were_pooled_goes_on_with_trials_that_draw_their_own() -> None:
    now = resolve(StudySpec(), NOWHERE).model_dump(mode="json")
    before = {key: value for key, value in now.items() if key != "pool_samples"}
    assert differences(before, now) == ["pool_samples: False -> True"]
    assert differences(before, {**now, "pool_samples": False}) == []


USUAL = ["forget_accuracy", "retain_accuracy", "mia"]


def test_the_terms_of_the_gap_are_the_usual_three_or_these_and_the_probe() -> None:
    assert StudySpec().gap_terms == USUAL
    assert validate({"gap_terms": USUAL[::-1]}).gap_terms == USUAL
    assert validate({"gap_terms": ["probe", *USUAL]}).gap_terms == [*USUAL, "probe"]
    for refused in (["probe"], USUAL[:2], [*USUAL, "mia"], [*USUAL, "zrf"], []):
        with pytest.raises(InvalidRequest, match="gap_terms"):
            validate({"gap_terms": refused})


def test_a_study_from_before_the_gap_had_terms_has_the_usual_ones() -> None:
    now = resolve(validate({"gap_terms": USUAL}), NOWHERE).model_dump(mode="json")
    before = {key: value for key, value in now.items() if key != "gap_terms"}
    assert differences(before, now) == []
    (line,) = differences(now, {**now, "gap_terms": [*USUAL, "probe"]})
    assert line.startswith("gap_terms: ")


def test_synthetic_images_have_no_probe() -> None:
    with pytest.raises(InvalidRequest, match="of real images"):
        resolve(validate({"objective": "synthetic", "gap_terms": [*USUAL, "probe"]}), NOWHERE)


def test_other_defaults_of_the_split_are_told_with_the_options_that_keep_it() -> None:
    now = resolve(StudySpec(), NOWHERE).model_dump(mode="json")
    scenario = {**now["scenario"], "validation_fraction": 0.05}
    del scenario["validation_from"]
    before = {**now, "scenario": scenario}
    (line,) = changed = differences(before, now)
    assert line == "scenario.validation_fraction: 0.05 -> 0.2"
    kept = "--validation-from training --validation-fraction 0.05"
    assert keeping_split(before, changed) == kept
    assert keeping_split(before, [*changed, "seed: 0 -> 1"]) == ""


def test_links_in_a_circle_are_told_in_a_line(tmp_path: Path) -> None:
    for suffix in ("safetensors", "npz"):
        (tmp_path / f"loop.{suffix}").symlink_to(f"loop.{suffix}")
    for key, suffix in {"weights": "safetensors", "held_out": "npz"}.items():
        values = {key: str(tmp_path / f"loop.{suffix}")}
        with pytest.raises(InvalidRequest, match="loop"):
            resolve(validate({"scenario": values}), NOWHERE)


def test_the_study_s_seed_is_that_of_the_samples_which_its_trials_share() -> None:
    assert pool_seed(validate({"seed": 5})) == 5
    assert pool_seed(validate({"seed": 5, "pool_samples": False})) is None


def test_nested_changes_are_named_by_their_path() -> None:
    spec = resolve(StudySpec(), NOWHERE)
    scenario = {**spec.scenario.model_dump(mode="json"), "width": 0.5, "forget": [4]}
    assert changed(spec, scenario=scenario, seed=3) == [
        "scenario.forget: [3] -> [4]",
        "scenario.width: 0.25 -> 0.5",
        "seed: 0 -> 3",
    ]


def test_parts_of_a_space_that_come_and_go_are_named() -> None:
    spec = resolve(validate({"space": {"temperature": 2.0}}), NOWHERE)
    assert changed(spec, space={"learning_rate": 0.1, "samples_per_class": "100..700"}) == [
        "space.learning_rate: None -> 0.1",
        "space.temperature: 2.0 -> None",
    ]


# Weights instead of data


def weights_file(
    folder: Path,
    name: str = "base",
    shape: tuple[int, int, int] = (1, 8, 8),
    classes: int = 10,
    seed: int = 0,
    noted: bool = True,
) -> str:
    """The weights of a fresh AllCNN of width 0.25, with or without a note of its images' size."""
    model = catalogue.build("allcnn", shape, classes, 0.25, seed)
    path = folder / f"{name}.safetensors"
    if noted:
        save_model(model, path, shape[1:])
    else:
        save_file(model.state_dict(), path)
    return str(path)


def without_data(weights: str | None, **values: Any) -> dict[str, Any]:
    """A search that has nothing but weights; `values` replace parts of it, nested ones by key."""
    scenario = {"dataset": "none", "forget": [1], "weights": weights}
    scenario = {key: value for key, value in scenario.items() if value is not None}
    given = {"method": "zmugan", "objective": "synthetic", **values}
    return {**given, "scenario": {**scenario, **values.get("scenario", {})}}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A base model of ten classes, grey 8x8 images and width 0.25."""
    return weights_file(tmp_path)


def test_without_data_everything_follows_from_the_weights(weights: str) -> None:
    spec = resolve(validate(without_data(weights)), NOWHERE)
    found = scenario_of(spec)
    assert (found.dataset, found.forget, found.weights) == ("none", (1,), weights)
    assert (found.image_shape, found.num_classes, found.width) == ((1, 8, 8), 10, 0.25)
    assert spec.name == "zmugan-base-allcnn-forget-1"
    assert resolve(spec, NOWHERE) == spec
    assert validate(spec.model_dump(mode="json")) == spec


def test_without_data_nothing_is_read(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a dataset was read")

    for name in (
        "search.definition.resolving.read",
        "search.definition.resolving.source",
        "trainables.data.sources.read",
    ):
        monkeypatch.setattr(name, read)
    spec = resolve(validate(without_data(weights)), NOWHERE)
    assert fingerprint(spec, NOWHERE)
    assert scenario_of(spec).num_classes == 10


@pytest.mark.parametrize("method", ["zmugan", "gkt", "emmn", "original"])
def test_without_data_methods_that_need_none_are_taken(weights: str, method: str) -> None:
    spec = resolve(validate(without_data(weights, method=method)), NOWHERE)
    assert spec.name == f"{method}-base-allcnn-forget-1"


def test_without_data_there_must_be_weights() -> None:
    message = refusal(without_data(None))
    assert "without a dataset the base model cannot be trained" in message
    assert "--weights" in message


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"objective": "pareto"}, "only the objective synthetic"),
        ({"objective": "gap"}, "only the objective synthetic"),
        ({"objective": "gap", "pruner": "asha"}, "only the objective synthetic"),
        ({"mia_tolerance": 3.0}, "MIA tolerance"),
        ({"mia_tolerance": 0.0}, "MIA tolerance"),
        ({"method": "scrub"}, "scrub needs forget data, retain data"),
        ({"method": "finetune"}, "finetune needs retain data"),
        ({"method": "mugan"}, "mugan needs per-class GANs"),
        ({"method": "retrain"}, "retrain needs retain data"),
        (
            {"method": "zdelete", "space": {"epochs": 2, "source": "gans"}},
            "zdelete with source = 'gans' needs per-class GANs;",
        ),
        (
            {"method": "zdelete", "space": {"source": ["inverted", "gans"]}},
            "zdelete with source = ['inverted', 'gans'] needs per-class GANs;",
        ),
        ({"metrics": ["anamnesis"]}, "anamnesis index"),
        ({"metrics": ["synthetic", "anamnesis"]}, "anamnesis index"),
        ({"inversion": {"few_shot": 1}}, "few-shot aid"),
        ({"space": {"generator": 3}}, "did you mean 'generators'?"),
        ({"scenario": {"model": "vgg16"}}, "does not fit vgg16"),
        ({"scenario": {"width": 0.5}}, "does not fit allcnn"),
        ({"scenario": {"image_size": [3, 3]}}, "at least 4x4"),
    ],
)
def test_without_data_what_cannot_be_done_is_refused(
    weights: str, values: dict[str, Any], wrong: str
) -> None:
    assert wrong in refusal(without_data(weights, **values))


@pytest.mark.parametrize(
    "forget",
    [[10], [0, 99], [-1], ["three"], ["1", "three"], ["1.0"], [""], ["²"]],
    ids=lambda forget: ",".join(map(str, forget)) or "nothing",
)
def test_without_data_forget_classes_are_numbers_that_there_are(
    weights: str, forget: list[Any]
) -> None:
    message = refusal(without_data(weights, scenario={"forget": forget}))
    assert "forget" in message
    assert "0 to 9" in message


@pytest.mark.parametrize("forget", [list(range(10)), [str(label) for label in range(10)]])
def test_without_data_some_class_must_be_retained(weights: str, forget: list[Any]) -> None:
    assert "all 10 classes" in refusal(without_data(weights, scenario={"forget": forget}))


def test_without_data_a_forget_class_must_be_given(weights: str) -> None:
    values = without_data(weights)
    del values["scenario"]["forget"]
    assert "say which class to forget, by number" in refusal(values)
    assert "no forget class given" in refusal(without_data(weights, scenario={"forget": []}))


def test_without_data_forget_classes_become_sorted_numbers(weights: str) -> None:
    spec = resolve(
        validate(without_data(weights, scenario={"forget": ["7", 2, "2", 0, 7]})), NOWHERE
    )
    assert spec.scenario.forget == [0, 2, 7]
    assert spec.name == "zmugan-base-allcnn-forget-0-2-7"


def test_the_size_of_the_images_is_the_file_s_or_what_was_given(tmp_path: Path) -> None:
    noted = weights_file(tmp_path, "noted", (3, 9, 12))
    silent = weights_file(tmp_path, "silent", (3, 9, 12), noted=False)

    def shape(weights: str, **scenario: Any) -> tuple[int, ...] | None:
        spec = resolve(validate(without_data(weights, scenario=scenario)), NOWHERE)
        return scenario_of(spec).image_shape

    assert shape(noted) == (3, 9, 12)
    assert shape(noted, image_size=[32, 28]) == (3, 32, 28)
    assert shape(silent, image_size=[10, 6]) == (3, 10, 6)
    message = refusal(without_data(silent))
    assert message.startswith(f"{silent}: ")
    assert "--image-size" in message


def test_an_image_size_is_only_for_a_search_without_data() -> None:
    assert "image_size" in refusal({"scenario": {"image_size": [8, 8]}})


def test_relative_weights_become_an_absolute_path(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(weights).parent)
    spec = resolve(validate(without_data("./base.safetensors")), NOWHERE)
    assert spec.scenario.weights == weights
    monkeypatch.setenv("HOME", str(Path(weights).parent))
    monkeypatch.chdir("/")
    spec = resolve(validate(without_data("~/base.safetensors")), NOWHERE)
    assert spec.scenario.weights == weights


def test_the_name_of_the_weights_is_part_of_the_default_name(tmp_path: Path) -> None:
    for stem, shown in (("mine", "mine"), ("my net (2)", "my-net-2-"), ("日本", "-")):
        spec = resolve(validate(without_data(weights_file(tmp_path, stem))), NOWHERE)
        assert spec.name == f"zmugan-{shown}-allcnn-forget-1"
        check_name(spec.name)
    named = resolve(validate(without_data(weights_file(tmp_path), name="other")), NOWHERE)
    assert named.name == "other"


@pytest.mark.parametrize("values", [{"dataset": "none"}, {"dataset": "digits"}])
def test_weights_that_cannot_be_read_are_refused(tmp_path: Path, values: dict[str, str]) -> None:
    missing = tmp_path / "none.safetensors"
    given = without_data(str(missing), scenario=values)
    assert refusal(given).startswith(f"{missing}: cannot be read")
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    assert refusal(without_data(str(text), scenario=values)).startswith(f"{text}: ")


@pytest.mark.parametrize(
    ("shape", "classes", "found"),
    [
        ((1, 8, 8), 3, "a model of 3 classes and 1 channels"),
        ((1, 8, 8), 11, "a model of 11 classes and 1 channels"),
        ((3, 8, 8), 10, "a model of 10 classes and 3 channels"),
    ],
)
def test_weights_that_do_not_fit_a_dataset_are_refused(
    tmp_path: Path, shape: tuple[int, int, int], classes: int, found: str
) -> None:
    path = weights_file(tmp_path, shape=shape, classes=classes)
    message = refusal({"scenario": {"weights": path}})
    assert message.startswith(f"{path}: ")
    assert found in message
    assert "digits has 10 and 1" in message


def test_weights_that_fit_a_dataset_keep_their_width_and_the_dataset_s_name(
    tmp_path: Path,
) -> None:
    path = tmp_path / "narrow.safetensors"
    save_model(catalogue.build("allcnn", (1, 8, 8), 10, 0.125, seed=0), path, (8, 8))
    spec = resolve(validate({"scenario": {"weights": str(path)}}), NOWHERE)
    assert (spec.scenario.width, spec.scenario.weights) == (0.125, str(path))
    assert spec.name == "mugan-digits-allcnn-forget-3"
    message = refusal({"scenario": {"weights": str(path), "width": 0.25}})
    assert message.startswith(f"{path}: does not fit allcnn")


def test_a_method_that_needs_the_training_log_is_refused_with_given_weights(weights: str) -> None:
    message = refusal({"method": "amnesiac", "scenario": {"weights": weights}})
    assert weights in message
    assert "training log" in message
    assert "possible: original, retrain, mask, finetune" in message
    assert resolve(validate({"method": "amnesiac"}), NOWHERE).scenario.forget == [3]


def test_a_study_s_fingerprint_follows_from_data_and_weights(tmp_path: Path) -> None:
    one, other = (weights_file(tmp_path, f"w{seed}", seed=seed) for seed in (0, 1))
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(one).read_bytes())

    def about(values: dict[str, Any]) -> str:
        return fingerprint(resolve(validate(values), NOWHERE), NOWHERE)

    assert about(without_data(one)) == about(without_data(str(copy)))
    digits = {"scenario": {"dataset": "digits"}}
    both = [{"scenario": {"dataset": "digits", "weights": path}} for path in (one, other)]
    values = (without_data(one), without_data(other), digits, *both)
    prints = [about(value) for value in values]
    assert len(set(prints)) == 5
    assert all(prints)


def test_weights_written_anew_are_another_study_to_the_next_run(
    tmp_path: Path, weights: str
) -> None:
    spec = resolve(validate(without_data(weights)), NOWHERE)
    before = fingerprint(spec, NOWHERE)
    weights_file(tmp_path, seed=1)
    assert resolve(validate(without_data(weights)), NOWHERE) == spec
    assert fingerprint(spec, NOWHERE) != before


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ([8, 8], (500, 64)),
        ([16, 16], (500, 64)),
        ([28, 29], (20_000, 256)),
        ([29, 8], (20_000, 256)),
        ([32, 32], (20_000, 256)),
    ],
)
def test_the_length_of_an_inversion_suits_the_size_of_the_images(
    weights: str, size: list[int], expected: tuple[int, int]
) -> None:
    spec = resolve(validate(without_data(weights, scenario={"image_size": size})), NOWHERE)
    assert (spec.inversion.steps, spec.inversion.batch_size) == expected
    found = scenario_of(spec).inversion
    assert (found.steps, found.batch_size) == expected


def test_what_is_given_of_an_inversion_is_kept(weights: str) -> None:
    for inversion, expected in (
        ({"steps": 60}, (60, 256)),
        ({"batch_size": 32}, (20_000, 32)),
        ({"steps": 60, "batch_size": 32}, (60, 32)),
    ):
        given = without_data(weights, scenario={"image_size": [32, 32]}, inversion=inversion)
        found = resolve(validate(given), NOWHERE).inversion
        assert (found.steps, found.batch_size) == expected


def test_digits_are_inverted_as_small_images_are() -> None:
    found = resolve(validate({"method": "zmugan"}), NOWHERE).inversion
    assert (found.steps, found.batch_size) == (500, 64)


@pytest.mark.parametrize(
    ("objective", "metrics", "expected"),
    [
        ("synthetic", [], ("synthetic",)),
        ("synthetic", ["synthetic"], ("synthetic",)),
        ("synthetic", ["anamnesis"], ("anamnesis", "synthetic")),
        ("synthetic", ["synthetic", "anamnesis"], ("synthetic", "anamnesis")),
        ("pareto", [], ()),
        ("gap", ["synthetic"], ("synthetic",)),
        ("pareto", ["anamnesis", "anamnesis"], ("anamnesis",)),
    ],
)
def test_the_objective_says_what_must_be_measured(
    objective: str, metrics: list[str], expected: tuple[str, ...]
) -> None:
    assert measured(validate({"objective": objective, "metrics": metrics})) == expected


@pytest.mark.parametrize("name", ["vgg16", "resnet9"])
def test_weights_of_the_other_models_are_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / "base.safetensors"
    save_model(catalogue.build(name, (3, 32, 32), 5, 1.0, seed=0), path, (32, 32))
    given = without_data(str(path), scenario={"model": name})
    scenario = scenario_of(resolve(validate(given), NOWHERE))
    assert (scenario.image_shape, scenario.num_classes) == ((3, 32, 32), 5)
    assert scenario.width == 1.0


@pytest.mark.parametrize("size", [[8], [8, 8, 8], [0, 8], [8.0, 8], []])
def test_an_image_size_is_two_whole_numbers(weights: str, size: list[Any]) -> None:
    assert "scenario.image_size" in refusal(without_data(weights, scenario={"image_size": size}))


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"steps": 0}, "inversion.steps is 0"),
        ({"batch_size": 1}, "inversion.batch_size is 1"),
        ({"learning_rate": 0}, "inversion.learning_rate is 0"),
        ({"diversity_weight": -1}, "inversion.diversity_weight is -1"),
        ({"bn_weight": -1}, "inversion.bn_weight is -1"),
        ({"few_shot": -1}, "inversion.few_shot is -1"),
        ({"output": "sigmoid"}, "inversion.output is 'sigmoid'"),
        ({"step": 5}, "unknown key of inversion 'step'; did you mean 'steps'?"),
    ],
)
def test_a_wrong_value_of_the_inversion_is_refused(values: dict[str, Any], wrong: str) -> None:
    assert wrong in refusal({"inversion": values})


# Where validation images come from


def given_weights(weights: str, **scenario: Any) -> dict[str, Any]:
    return {"scenario": {"weights": weights, **scenario}}


def listed(folder: Path, *lines: object) -> str:
    path = folder / "held-out.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_validation_is_a_share_of_training_unless_the_base_model_was_trained_elsewhere(
    weights: str, tmp_path: Path
) -> None:
    images = read("digits", tmp_path).y_train
    some = listed(tmp_path, *(int(np.flatnonzero(images == label)[0]) for label in (3, 4)))
    for values, expected in (
        ({}, ("training", 0.2, None)),
        (given_weights(weights), ("test", None, None)),
        (given_weights(weights, validation_from="test"), ("test", None, None)),
        (given_weights(weights, validation_from="training"), ("training", 0.2, None)),
        (
            given_weights(weights, validation_from="training", validation_fraction=0.1),
            ("training", 0.1, None),
        ),
        (given_weights(weights, held_out=some), ("training", None, some)),
        ({"scenario": {"held_out": some}}, ("training", None, some)),
        ({"scenario": {"validation_from": "test"}}, ("test", None, None)),
    ):
        spec = resolve(validate(values), NOWHERE)
        found = spec.scenario
        assert (found.validation_from, found.validation_fraction, found.held_out) == expected
        assert resolve(spec, NOWHERE) == spec
        assert resolve(validate(spec.model_dump(mode="json")), NOWHERE) == spec
        scenario = scenario_of(spec)
        assert scenario.validation_source == expected[0]
        assert scenario.held_out == expected[2]


@pytest.mark.parametrize(
    ("counts", "expected"), [((500, 700), 0.1), ((1_000, 5_000), 0.05), ((499, 5_000), 0.2)]
)
def test_the_share_suits_the_smallest_class(
    tmp_path: Path, counts: tuple[int, int], expected: float
) -> None:
    path, labels = tmp_path / "own.npz", np.repeat([0, 1], counts)
    images = np.zeros((len(labels), 4, 4), np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:4], y_test=[0, 0, 1, 1])
    values: dict[str, Any] = {"dataset": str(path), "forget": [1]}
    found = resolve(validate({"scenario": values}), NOWHERE).scenario
    assert found.validation_fraction == expected
    values["validation_fraction"] = 0.01
    assert resolve(validate({"scenario": values}), NOWHERE).scenario.validation_fraction == 0.01


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"validation_from": "test", "held_out": "@list@"}, "give one"),
        ({"validation_from": "validation"}, "scenario.validation_from is 'validation'"),
        ({"validation_fraction": 0.1}, "validation is half of the test images"),
        ({"validation_fraction": 0.1, "held_out": "@list@"}, "leave it out"),
        ({"held_out": "nosuch.txt"}, "nosuch.txt: no such file"),
        ({"held_out": "@list@", "forget": [5]}, "class 5, which is to be forgotten,"),
    ],
)
def test_validation_that_contradicts_itself_is_refused(
    weights: str, tmp_path: Path, values: dict[str, Any], wrong: str
) -> None:
    images = read("digits", tmp_path).y_train
    some = listed(tmp_path, *(int(np.flatnonzero(images == label)[0]) for label in (3, 4)))
    given = {key: some if value == "@list@" else value for key, value in values.items()}
    assert wrong in refusal(given_weights(weights, **given))


@pytest.mark.parametrize("values", [{"validation_from": "training"}, {"held_out": "some.txt"}])
def test_without_data_there_is_no_validation(weights: str, values: dict[str, Any]) -> None:
    assert "without a dataset" in refusal(without_data(weights, scenario=values))


def test_a_relative_list_becomes_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = read("digits", tmp_path).y_train
    some = listed(tmp_path, *(int(np.flatnonzero(images == label)[0]) for label in (3, 4)))
    monkeypatch.chdir(tmp_path)
    spec = resolve(validate({"scenario": {"held_out": Path(some).name}}), NOWHERE)
    assert spec.scenario.held_out == some


def test_another_list_is_another_study(tmp_path: Path) -> None:
    images = read("digits", tmp_path).y_train
    first, second, third = (int(np.flatnonzero(images == label)[0]) for label in (3, 4, 5))
    plain = resolve(StudySpec(), NOWHERE)
    spec = resolve(validate({"scenario": {"held_out": listed(tmp_path, first, second)}}), NOWHERE)
    before = fingerprint(spec, NOWHERE)
    listed(tmp_path, second, first)
    assert fingerprint(spec, NOWHERE) == before, "another order is the same list"
    listed(tmp_path, first, third)
    assert len({fingerprint(spec, NOWHERE), before, fingerprint(plain, NOWHERE)}) == 3


def test_few_validation_images_of_the_forgotten_are_noted(tmp_path: Path) -> None:
    assert notes(resolve(StudySpec(), NOWHERE), NOWHERE) == ()
    narrow = {"scenario": {"validation_fraction": 0.05, "forget": [3, 4]}}
    lines = notes(resolve(validate(narrow), NOWHERE), NOWHERE)
    assert [line.partition(":")[0] for line in lines] == [
        f"validation has only 7 images of class {label}" for label in (3, 4)
    ]


def test_nothing_is_noted_without_data(weights: str) -> None:
    assert notes(resolve(validate(without_data(weights)), NOWHERE), NOWHERE) == ()


def older(spec: StudySpec, **scenario: Any) -> dict[str, Any]:
    """A stored specification of a version that took all validation images from training."""
    dumped: dict[str, Any] = spec.model_dump(mode="json")
    kept = {**dumped["scenario"], **scenario}
    del kept["validation_from"], kept["held_out"]
    return {**dumped, "scenario": kept}


def test_a_study_of_a_version_before_goes_on_if_it_is_the_same(weights: str) -> None:
    for values in ({}, without_data(weights)):
        spec = resolve(validate(values), NOWHERE)
        assert differences(older(spec), spec.model_dump(mode="json")) == []


def test_a_study_on_given_weights_of_a_version_before_goes_on_if_it_is_said_to_be_right(
    weights: str,
) -> None:
    now = resolve(validate(given_weights(weights)), NOWHERE)
    before = older(now, validation_fraction=0.2)
    changes = differences(before, now.model_dump(mode="json"))
    assert "scenario.validation_from: training -> test" in changes
    stated = resolve(validate(given_weights(weights, validation_from="training")), NOWHERE)
    assert differences(before, stated.model_dump(mode="json")) == []
    repeated = resolve(validate(stored(before)), NOWHERE)
    assert scenario_of(repeated) == scenario_of(stated), "and it is repeated as it was"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_mark_of_the_byte_order_is_no_part_of_the_file(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text('name = "ü"\ntrials = 7\n', encoding=encoding)
    assert load_spec(path, {}).trials == 7


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text("trials = 7\n", encoding=encoding)
    with pytest.raises(InvalidRequest, match="is in UTF-16"):
        load_spec(path, {})


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5_000,
        "a = " + "[" * 5_000 + "]" * 5_000,
        ".".join(["space", *("a" * 3_000)]) + " = 1",
        "seed = " + "9" * 5_000,
        "seed = 0x" + "f" * 9_000,
        "seed = 1\nseed = 2",
        "seed = 2020-01-01",
        "[space]\nlearning_rate = nan",
        "[space]\nlearning_rate = 2020-01-01T00:00:00Z",
        "\0",
    ],
)
def test_a_strange_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(InvalidRequest) as caught:
        load_spec(path, {})
    assert len(only_line(str(caught.value))) < 400 + len(str(path))


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes, terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(content))
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stdin", stream)


def test_a_hyphen_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, b"trials = 7\n[space]\ntemperature = 2.0\n")
    spec = load_spec(Path("-"), {"trials": 8})
    assert (spec.trials, spec.space) == (8, {"temperature": 2.0})


@pytest.mark.parametrize(
    ("content", "terminal", "said"),
    [(b" \n", False, "is empty"), (b"", False, "is empty"), (b"trials = 7", True, "is piped")],
)
def test_standard_input_with_nothing_in_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, content: bytes, terminal: bool, said: str
) -> None:
    piped(monkeypatch, content, terminal)
    with pytest.raises(InvalidRequest, match=said):
        load_spec(Path("-"), {})


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)  # as Python has it after `<&-`
    with pytest.raises(InvalidRequest, match="is piped"):
        load_spec(Path("-"), {})
