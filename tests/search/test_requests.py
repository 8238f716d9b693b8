"""What was resolved stays what it is: through JSON, through TOML, by all who read it back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from search import Study
from search.cli import options, studying
from search.definition.reading import load_spec, validate
from search.definition.resolved import forgotten, scenario_of
from search.definition.resolving import resolve
from search.definition.spec import InversionSpec, Resources, ScenarioSpec, StudySpec
from search.designs import comparison, repeats, sweeps, targets
from search.designs.repeats import Chosen, Origin
from search.show import tables
from search.store.results import Row
from tests.search.definition.test_spec import weights_file
from tests.search.toys import NOWHERE, toy_row
from trainables.errors import InvalidRequest

HOSTILE = {
    "shifted": ("1", "2", "3", "4"),
    "sorted as text": ("1", "10", "11", "12", "2", "3"),
    "backwards": ("2", "1", "0"),
    "negative": ("-1", "-2", "0"),
    "spaces": (" cat", "dog ", " ", "1 "),
    "unicode": ("caf\u00e9", "cafe", "the\u0301", "日本"),
    "prefixes": ("ca", "cat", "cats", "c"),
    "toml": ("1..3", "[1, 2]", '"1"', "a = 1", "true"),
    "markup": ("[red]", "[/red]", "a,b", "it's", "a|b", "\\"),
    "numbers otherwise": ("01", "1.0", "+1", "²", "1e0"),
}


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., Path]:
    """Writes noise of so many classes as a .npz file."""

    def write(names: Sequence[str], path: Path = tmp_path / "own.npz") -> Path:
        labels = np.arange(20 * len(names)) % len(names)
        images = np.random.default_rng(0).integers(0, 255, (len(labels), 8, 8), dtype=np.uint8)
        arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
        np.savez(path, **arrays, classes=np.array(names))
        return path

    return write


def row(**values: Any) -> Row:
    """A settled trial with these hyperparameters."""
    plain = {key: value for key, value in toy_row(0).items() if not key.startswith("p_")}
    return {**plain, "params_json": json.dumps(values)}


def again(spec: StudySpec, folder: Path) -> list[StudySpec]:
    """A resolved specification as those have it who read it back."""
    dumped = json.loads(json.dumps(spec.model_dump(mode="json")))
    path = folder / "best.toml"
    path.write_text(tables.as_toml(row(**spec.space), dumped), encoding="utf-8")
    return [
        resolve(spec, NOWHERE),
        resolve(validate(dumped), NOWHERE),
        resolve(load_spec(path, {}), NOWHERE),
    ]


@pytest.mark.parametrize("names", HOSTILE.values(), ids=HOSTILE)
def test_the_forget_class_stays_the_one_that_was_asked_for(
    names: tuple[str, ...], data: Callable[..., Path], tmp_path: Path
) -> None:
    path = str(data(names))
    for label, name in enumerate(names):
        for forget in ([label], [name]):
            spec = resolve(validate({"scenario": {"dataset": path, "forget": forget}}), NOWHERE)
            assert spec.scenario.forget == [label]
            for other in again(spec, tmp_path):
                assert scenario_of(other) == scenario_of(spec)
                assert forgotten(other, NOWHERE) == forgotten(spec, NOWHERE)


@pytest.mark.parametrize("names", HOSTILE.values(), ids=HOSTILE)
def test_a_word_of_the_command_line_is_a_name_before_it_is_a_number(
    names: tuple[str, ...], data: Callable[..., Path]
) -> None:
    dataset = str(data(names))
    stripped = {name.strip(): label for label, name in enumerate(names)}
    for label, word in [*enumerate(names), *((n, str(n)) for n in range(len(names)))]:
        expected = names.index(word) if word in names else stripped.get(word, label)
        given = {"scenario": {"dataset": dataset, "forget": [word]}}
        spec = resolve(options.load(None, given, NOWHERE), NOWHERE)
        assert spec.scenario.forget == [expected]


def test_a_file_s_string_is_a_name_and_a_word_of_the_command_line_goes_before_the_file(
    data: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "study.toml"
    dataset = data(HOSTILE["shifted"])
    for forget, expected in ((3, 3), ('"3"', 2)):
        path.write_text(f"scenario.dataset = '{dataset}'\nscenario.forget = [{forget}]")
        assert resolve(options.load(path, {}, NOWHERE), NOWHERE).scenario.forget == [expected]
    words = {"scenario": {"forget": ["2"]}}
    assert resolve(options.load(path, words, NOWHERE), NOWHERE).scenario.forget == [1]


def test_words_are_told_apart_only_after_all_else_that_can_be_checked_is(tmp_path: Path) -> None:
    """So that no dataset is downloaded for a method that is none."""
    given = {"method": "mugn", "scenario": {"dataset": "cifar10", "forget": ["cat"]}}
    with pytest.raises(InvalidRequest, match="did you mean 'mugan'"):
        options.load(None, given, NOWHERE)


EVERY: dict[str, Any] = {
    "name": "every-field",
    "method": "finetune",
    "trials": 7,
    "sampler": "random",
    "objective": "gap",
    "gap_terms": ["forget_accuracy", "retain_accuracy", "mia", "probe"],
    "mia_tolerance": 0.0,
    "seed": 3,
    "pruner": "asha",
    "metrics": ["anamnesis"],
    "curves": True,
    "retries": 0,
    "give_up_after": 5,
    "trial_timeout": 60.0,
    "time_budget": 3600.0,
    "concurrency": 1,
    "pool_samples": False,
    "space": {"learning_rate": "1e-5..0.1", "batch_size": [32, 64], "epochs": 1},
    "scenario": {
        "forget": ["3"],
        "model": "allcnn",
        "width": 0.3,
        "validation_fraction": 0.3,
        "seed": 5,
        "evaluation_seed": 6,
        "epochs": 2,
        "learning_rate": 1e-4,
        "batch_size": 16,
        "gan": "cgan",
        "gan_steps": 11,
        "gan_width": 0.7,
        "anamnesis_alpha": 0.1,
        "anamnesis_batch_size": 32,
        "anamnesis_epochs": 3,
        "precision": "bfloat16",
    },
    "inversion": {
        "steps": 9,
        "batch_size": 8,
        "learning_rate": 1e-16,
        "reconstruction_weight": 0.1,
        "diversity_weight": 0.2,
        "decoder_layers": 1,
        "output": "normalised",
        "bn_weight": 0.3,
        "few_shot": 2,
        "few_shot_weight": 0.4,
    },
    "resources": {"cpus_per_trial": 2, "gpus_per_trial": 0.1, "fuse": "auto"},
}
"""A specification in which nothing is as it would be anyway."""

ELSEWHERE = {"dataset", "weights", "image_size", "validation_from", "held_out"}
"""Fields of a scenario that the tests of paths, of weights and of validation have."""


def test_every_field_stays_as_it_was_resolved(data: Callable[..., Path], tmp_path: Path) -> None:
    scenario = {**EVERY["scenario"], "dataset": str(data(HOSTILE["shifted"]))}
    spec = resolve(validate({**EVERY, "scenario": scenario}), NOWHERE)
    for part, kind in (
        *((EVERY, StudySpec), (EVERY["scenario"], ScenarioSpec)),
        *((EVERY["inversion"], InversionSpec), (EVERY["resources"], Resources)),
    ):
        untried = set(kind.model_fields) - set(part)
        assert untried <= ELSEWHERE, "a new field needs a value here"
    same, from_json, from_toml = again(spec, tmp_path)
    assert same == spec
    assert from_json == spec
    assert (from_toml.scenario, from_toml.inversion) == (spec.scenario, spec.inversion)
    assert from_toml.gap_terms == spec.gap_terms
    assert (from_toml.space, from_toml.pool_samples) == (spec.space, spec.pool_samples)


def test_what_was_left_open_stays_as_it_was_resolved(
    data: Callable[..., Path], tmp_path: Path
) -> None:
    for method in ("mugan", "zmugan"):
        given = {"method": method, "scenario": {"dataset": str(data(("a", "b"))), "forget": ["b"]}}
        spec = resolve(validate(given), NOWHERE)
        same, from_json, from_toml = again(spec, tmp_path)
        assert same == from_json == spec
        assert scenario_of(from_toml) == scenario_of(spec)


def test_without_data_all_stays_as_it_was_resolved(tmp_path: Path) -> None:
    weights = weights_file(tmp_path, "base", (1, 8, 8))
    scenario = {"dataset": "none", "forget": ["7"], "weights": str(weights)}
    given = {"method": "zmugan", "objective": "synthetic", "scenario": scenario}
    spec = resolve(validate(given), NOWHERE)
    assert spec.scenario.forget == [7]
    same, from_json, from_toml = again(spec, tmp_path)
    assert same == from_json == spec
    assert scenario_of(from_toml) == scenario_of(spec)
    words = {**given, "scenario": {**scenario, "forget": ["07"]}}
    assert resolve(options.load(None, words, NOWHERE), NOWHERE) == spec


@pytest.mark.parametrize("given", ["own.npz", "./own.npz", "~/own.npz", "link.npz", "digits.npz"])
def test_a_dataset_s_path_leads_to_it_from_any_folder_and_again(
    given: str, data: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link may lead to a file whose name does not tell what it is, as stores of data have it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data(("a", "b"), tmp_path / "own.npz")
    data(("a", "b"), tmp_path / "digits.npz")
    blob = data(("a", "b"), tmp_path / "blob.npz").rename(tmp_path / "3f5a")
    (tmp_path / "link.npz").symlink_to(blob)
    spec = resolve(validate({"scenario": {"dataset": given, "forget": ["b"]}}), NOWHERE)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert Path(spec.scenario.dataset or "").is_absolute()
    assert again(spec, tmp_path)[:2] == [spec, spec]


def test_weights_behind_a_link_of_another_name_are_found_again(tmp_path: Path) -> None:
    blob = weights_file(tmp_path, "base", (1, 8, 8))
    blob = Path(blob).rename(tmp_path / "9c1d")
    (tmp_path / "linked.safetensors").symlink_to(blob)
    scenario = {"dataset": "none", "forget": [1], "weights": str(tmp_path / "linked.safetensors")}
    given = {"method": "zmugan", "objective": "synthetic", "scenario": scenario}
    spec = resolve(validate(given), NOWHERE)
    assert spec.scenario.weights == str(tmp_path.resolve() / "linked.safetensors")
    assert again(spec, tmp_path)[:2] == [spec, spec]


# Who reads a study back


@pytest.fixture
def study(data: Callable[..., Path], tmp_path: Path) -> Study:
    """A stored study that forgets the class called "2", which is class 1."""
    scenario = {"dataset": str(data(HOSTILE["shifted"])), "forget": ["2"]}
    spec = validate({"name": "toy", "method": "finetune", "scenario": scenario})
    made = Study(spec, root=tmp_path / "results", places=NOWHERE)
    made.folder.mkdir(parents=True)
    described = {"spec": made.spec.model_dump(mode="json")}
    (made.folder / "study.json").write_text(json.dumps(described))
    return made


class Caught(Exception):
    """Carries the specification that would have been run."""

    def __init__(self, spec: StudySpec) -> None:
        self.spec = spec


def caught(spec: StudySpec, *_: object) -> Study:
    raise Caught(Study(spec, places=NOWHERE).spec)


def test_sensitivity_and_classes_start_from_the_stored_class(study: Study) -> None:
    assert repeats.stored(study.root, "toy") == study.spec
    about = studying._origin("toy", None, {}, study.root, NOWHERE)
    assert about == study.spec
    swept = sweeps.sweep(about, [{"epochs": 1}, {"epochs": 2}], {}, 1)
    assert Study(swept, places=NOWHERE).spec.scenario == study.spec.scenario


def test_a_comparison_s_repeats_forget_the_class_of_the_study(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "run", caught)
    with pytest.raises(Caught) as found:
        comparison._repeats(study, study.spec, row(epochs=1), 1, 1, Console(quiet=True))
    assert found.value.spec.scenario == study.spec.scenario


def test_each_class_is_forgotten_once_and_told_by_number_and_name(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[Any] | None] = []

    def run(spec: StudySpec, *_: object) -> Study:
        ran.append(Study(spec, places=NOWHERE).spec.scenario.forget)
        raise InvalidRequest("as far as it goes")

    monkeypatch.setattr(targets, "run", run)
    chosen = Chosen({}, Origin(study.name), "the defaults")
    targets.forget_each(
        *(study.spec, study.root, NOWHERE, Console()), labels=range(4), chosen=chosen, seeds=1
    )
    assert ran == [[0], [1], [2], [3]]
    said = capsys.readouterr().out.splitlines()
    assert said[2] == "forgetting 2 of 4: class 1 ('2')"
    assert said[3] == "class 1 ('2'): as far as it goes"
