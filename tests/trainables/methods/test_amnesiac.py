"""Amnesiac unlearning: the log of the base model's training, and taking it back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.access import Access, Granted
from trainables.artifacts import classifiers
from trainables.artifacts.store import _write, checksum
from trainables.data.dataset import Samples
from trainables.errors import DataError, InvalidRequest
from trainables.methods import METHODS, check_log
from trainables.methods.amnesiac import Amnesiac
from trainables.models import catalogue
from trainables.models.copies import clone
from trainables.scenario import Places, Scenario
from trainables.trainable import trainable
from trainables.training.supervised import fit
from trainables.trial import run_trial
from trainables.workbench import Workbench, save_model

CPU = torch.device("cpu")


def initial(scenario: Scenario) -> nn.Module:
    """The base model before its training."""
    return catalogue.build(scenario.model, (1, 8, 8), 3, scenario.width, scenario.seed)


def unlearned(bench: Workbench, **values: Any) -> nn.Module:
    model = clone(bench.base)
    method = Amnesiac(**values)
    for result in method.unlearn(model, bench.grant(method.needs), rng()):
        model = result
    return model


def facts(places: Places) -> dict[str, Any]:
    (file,) = places.artifacts.glob("log-*.json")
    found: dict[str, Any] = json.loads(file.read_text())["facts"]
    return found


def own(folder: Path) -> Places:
    return Places(data=folder, artifacts=folder)


@pytest.fixture(scope="module")
def asked(scenario: Scenario) -> Scenario:
    return replace(scenario, forget=(0, 1), epochs=3, batch_size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("touched")


@pytest.fixture(scope="module")
def touched(asked: Scenario, folder: Path) -> Workbench:
    bench = Workbench(asked, own(folder), CPU)
    bench.prepare("log")
    found = facts(own(folder))
    assert found["batches"] == found["batches_with_forget_samples"] > 3
    return bench


class TestEveryBatchTouched:
    """Two of three classes are forgotten in large batches, so that each batch is in the log."""

    def test_taking_all_back_restores_the_initial_weights(
        self, touched: Workbench, asked: Scenario
    ) -> None:
        model = unlearned(touched, repair_epochs=0)
        moved = 0.0
        for (name, found), (_, start) in zip(
            model.named_parameters(), initial(asked).named_parameters(), strict=True
        ):
            torch.testing.assert_close(found, start, atol=1e-6, rtol=0, msg=name)
            moved += (touched.base.get_parameter(name) - start).abs().sum().item()
        assert moved > 1, "training had moved them"

    def test_half_the_scale_goes_half_the_way(self, touched: Workbench, asked: Scenario) -> None:
        model = unlearned(touched, scale=0.5, repair_epochs=0)
        for (name, found), (_, start) in zip(
            model.named_parameters(), initial(asked).named_parameters(), strict=True
        ):
            middle = (touched.base.get_parameter(name) + start) / 2
            torch.testing.assert_close(found, middle, atol=1e-6, rtol=0, msg=name)

    def test_running_statistics_stay_as_they_are(self, touched: Workbench) -> None:
        model = unlearned(touched, repair_epochs=0)
        trained = dict(touched.base.named_buffers())
        assert any("running_mean" in name for name in trained)
        for name, found in model.named_buffers():
            assert torch.equal(found, trained[name]), name

    def test_neither_the_base_model_nor_the_log_changes(self, touched: Workbench) -> None:
        before = state(touched.base)
        log = {name: value.clone() for name, value in touched.log.items()}
        unlearned(touched)
        assert same(state(touched.base), before)
        assert same(dict(touched.log), log)

    def test_the_facts_say_what_a_log_takes(
        self, touched: Workbench, asked: Scenario, folder: Path
    ) -> None:
        size = 4 * sum(weight.numel() for weight in initial(asked).parameters())
        batches = 3 * -(-len(touched.dataset.train) // 64)
        assert facts(own(folder)) == {
            "base": checksum(touched.base.state_dict()),
            "batches": batches,
            "batches_with_forget_samples": batches,
            "bytes": size,
            "bytes_of_sums_per_class": 3 * size,
            "bytes_of_a_full_log": batches * size,
        }

    def test_the_log_has_the_parameters_and_nothing_else(self, touched: Workbench) -> None:
        expected = {name: weight.shape for name, weight in touched.base.named_parameters()}
        assert {name: update.shape for name, update in touched.log.items()} == expected


def test_only_batches_with_forget_samples_are_in_the_log(
    scenario: Scenario, tmp_path: Path
) -> None:
    """Against a training loop of our own."""
    asked = replace(scenario, forget=(1,), epochs=1, batch_size=4)
    bench = Workbench(asked, own(tmp_path), CPU)
    train, model, source = bench.dataset.train, initial(asked), rng(asked.seed)
    model.to(memory_format=catalogue.memory_format("allcnn", (1, 8, 8)))  # rounds in its own way
    optimizer = torch.optim.Adam(model.parameters(), lr=asked.learning_rate, fused=True)
    expected = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    touched, batches = 0, 0
    model.train()
    for images, labels in train.batches(4, source):
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        batches += 1
        if 1 in labels.tolist():
            touched += 1
            for name, weight in model.named_parameters():
                expected[name] += weight.detach() - before[name]
    assert 0 < touched < 0.95 * batches
    for name, update in bench.log.items():
        torch.testing.assert_close(update, expected[name], atol=1e-6, rtol=1e-4, msg=name)
    found = facts(own(tmp_path))
    assert (found["batches"], found["batches_with_forget_samples"]) == (batches, touched)


def test_recording_changes_nothing_of_the_training(scenario: Scenario, tmp_path: Path) -> None:
    """The base model is the initial one plus all updates; here those of one class are all."""
    asked = replace(scenario, forget=(0, 1), epochs=1, batch_size=128)
    bench = Workbench(asked, own(tmp_path), CPU)
    log = bench.log
    start = dict(initial(asked).named_parameters())
    for name, weight in bench.base.named_parameters():
        torch.testing.assert_close(weight, start[name] + log[name], atol=1e-6, rtol=0)


class TestOfWhichTraining:
    """A log is that of the base model beside it, or there is none."""

    @pytest.fixture
    def asked(self, scenario: Scenario) -> Scenario:
        return replace(scenario, epochs=1, batch_size=64)

    @pytest.fixture
    def trainings(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The length of every training set that a model is trained on."""
        noted: list[int] = []

        def counting(model: nn.Module, samples: Samples, **recipe: Any) -> Any:
            noted.append(len(samples))
            return fit(model, samples, **recipe)

        monkeypatch.setattr(classifiers, "fit", counting)
        return noted

    @staticmethod
    def stages(bench: Workbench) -> None:
        for stage in bench.prerequisites(Amnesiac.needs):
            for name in stage:
                bench.prepare(name)

    @staticmethod
    def perturb(folder: Path, by: float) -> None:
        """The base model as another machine would have trained it: each weight moved by a share."""
        (path,) = folder.glob("base-*.safetensors")
        described = json.loads(path.with_suffix(".json").read_text())
        described.pop("sha256")
        moved = {
            name: value * (1 + by) if value.is_floating_point() else value
            for name, value in load(path.read_bytes()).items()
        }
        what = described["kind"], described["description"], moved, described["facts"]
        _write(path, path.with_suffix(".json"), *what, described["build_seconds"])

    def test_one_training_makes_the_base_model_and_its_log(
        self, asked: Scenario, tmp_path: Path, trainings: list[int]
    ) -> None:
        bench = Workbench(asked, own(tmp_path), CPU)
        self.stages(bench)
        train = bench.dataset.train
        assert sorted(trainings) == sorted([len(train), len(train.without((1,)))])
        alone = Workbench(asked, own(tmp_path / "alone"), CPU)
        assert same(state(bench.base), state(alone.base)), "recording changes nothing of it"
        assert bench.training_curves["base"] == alone.training_curves["base"]
        assert all(bench.is_prepared(name) for name in ("base", "log"))

    def test_a_log_made_after_the_base_model_is_the_same_log(
        self, asked: Scenario, tmp_path: Path, trainings: list[int]
    ) -> None:
        together = Workbench(asked, own(tmp_path / "together"), CPU)
        later = Workbench(asked, own(tmp_path / "later"), CPU)
        later.prepare("base")
        assert same(dict(later.log), dict(together.log))
        assert len(trainings) == 3
        assert facts(own(tmp_path / "later")) == facts(own(tmp_path / "together"))

    @pytest.mark.parametrize("by", [1e-3, 0.07])
    def test_a_base_model_of_another_backend_gets_no_log(
        self, asked: Scenario, tmp_path: Path, by: float
    ) -> None:
        Workbench(asked, own(tmp_path), CPU).prepare("base")
        self.perturb(tmp_path, by)
        (path,) = tmp_path.glob("base-*.safetensors")
        with pytest.raises(DataError) as caught:
            Workbench(asked, own(tmp_path), CPU).prepare("log")
        told = str(caught.value)
        assert len(told.splitlines()) == 1
        assert f"{tmp_path} was trained otherwise" in told
        assert "--artifacts" in told
        assert f"remove {path.stem}.*" in told
        assert not list(tmp_path.glob("log-*")), "nothing half-made"
        for file in tmp_path.glob("base-*"):
            file.unlink()
        self.stages(Workbench(asked, own(tmp_path), CPU))  # as it was told

    def test_a_log_beside_another_base_model_is_refused_wherever_it_is_asked_for(
        self, asked: Scenario, tmp_path: Path
    ) -> None:
        self.stages(Workbench(asked, own(tmp_path), CPU))
        self.perturb(tmp_path, 1e-7)
        (path,) = tmp_path.glob("log-*.safetensors")
        bench = Workbench(asked, own(tmp_path), CPU)
        assert not bench.is_prepared("log"), "so that it is looked at before any trial"
        for ask in (
            lambda: bench.prepare("log"),
            lambda: bench.log,
            lambda: bench.grant(Amnesiac.needs),
            lambda: bench.warm_up(Amnesiac.needs),
        ):
            with pytest.raises(
                DataError, match=f"another base model.*remove {path.stem}"
            ) as caught:
                ask()
            assert len(str(caught.value).splitlines()) == 1


class TestGivenWeights:
    """The training of a base model from a file was not ours: nothing of it is taken back."""

    @pytest.fixture
    def given(self, bench: Workbench, scenario: Scenario, tmp_path: Path) -> Scenario:
        path = tmp_path / "base.safetensors"
        save_model(bench.base, path, (8, 8))
        return replace(scenario, weights=str(path))

    def test_it_is_refused_before_anything_runs(
        self, given: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nothing(*_: object) -> None:
            raise AssertionError("something ran")

        for name in ("train", "_read"):
            monkeypatch.setattr(classifiers, name, nothing)
        bench = Workbench(given, own(tmp_path / "own"), CPU)
        for ask in (
            lambda: trainable("amnesiac", given),
            lambda: run_trial(bench, "amnesiac", {}, 0),
            lambda: bench.grant(Amnesiac.needs),
            lambda: bench.prerequisites(Amnesiac.needs),
            lambda: bench.prepare("log"),
            lambda: bench.log,
        ):
            with pytest.raises(InvalidRequest, match="training log") as caught:
                ask()
            assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "own").exists()

    def test_the_methods_that_can_be_taken_are_named(self, given: Scenario) -> None:
        with pytest.raises(InvalidRequest) as caught:
            trainable("amnesiac", given)
        told = str(caught.value)
        assert str(given.weights) in told
        possible = told.partition("possible: ")[2].split(", ")
        assert set(possible) == {*METHODS} - {"amnesiac"}
        for method in possible:
            check_log(method, given.weights)
        check_log("amnesiac", None)


def small() -> nn.Module:
    return catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=0)


def granted(log: dict[str, Tensor], retain: Samples) -> Granted:
    sources: dict[Access, Any] = {
        Access.FORGET: lambda: retain.where(torch.arange(2)),
        Access.RETAIN: lambda: retain,
        Access.LOG: lambda: log,
    }
    return Granted(Amnesiac.needs, sources, (1,), 3, (1, 8, 8))


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_log_is_taken_off_by_name_and_scaled(retain_data: Samples, scale: float) -> None:
    model = small()
    names = [name for name, _ in model.named_parameters()]
    log = {
        name: torch.full_like(model.get_parameter(name), float(names.index(name) + 1))
        for name in reversed(names)
    }
    list(Amnesiac(scale=scale, repair_epochs=0).unlearn(model, granted(log, retain_data), rng()))
    for index, (name, start) in enumerate(small().named_parameters()):
        torch.testing.assert_close(model.get_parameter(name), start - scale * (index + 1))


def test_the_repair_is_fitting_on_the_retain_data(retain_data: Samples) -> None:
    model, expected = small(), small()
    log = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    method = Amnesiac(repair_learning_rate=3e-3, repair_epochs=2, batch_size=16)
    steps = [
        batches_tracked(one) for one in method.unlearn(model, granted(log, retain_data), rng(5))
    ]
    assert steps == [0, 3, 6], "yielded once the log is taken back, then after each epoch"
    list(fit(expected, retain_data, epochs=2, learning_rate=3e-3, batch_size=16, rng=rng(5)))
    assert same(state(model), state(expected))
