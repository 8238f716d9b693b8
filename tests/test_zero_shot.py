"""Unlearning and searching from the weights of a model alone, through the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from search.store import results
from trainables import methods
from trainables.access import ZERO_SHOT, Access, Granted
from trainables.models import catalogue
from trainables.models.weights import inspect
from trainables.outcome import METRICS, State
from trainables.scenario import NO_DATASET, Inversion, Places, Scenario
from trainables.trial import run_trial
from trainables.workbench import Workbench, save_model

GUARD = """
import importlib.abc, importlib.machinery, os, sys

LOG = os.environ["DATASET_LOG"]

def guarded(name):
    def refuse(*_, **__):
        with open(LOG, "a") as file:
            file.write(f"{name}\\n")
        raise RuntimeError(f"{name} was called")
    return refuse

class Guard(importlib.abc.MetaPathFinder):
    # Replaces what reads a dataset, in each process that imports it.
    TARGETS = {
        "numpy": ("load", "loadtxt"),
        "sklearn.datasets": ("load_digits",),
        "trainables.data.sources": ("read",),
        "trainables.data.dataset": ("load",),
    }

    def find_spec(self, name, path, target=None):
        if name not in self.TARGETS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            for target in self.TARGETS[name]:
                setattr(module, target, guarded(f"{name}.{target}"))

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Guard())
"""

SPEC = """
trials = 3

[inversion]
steps = 60
batch_size = 32

[space]
generators = "1..2"
samples_per_generator = 90
"""


@pytest.fixture
def base(tmp_path: Path, bench: Workbench) -> Path:
    """The weights of a model of three digits, and nothing else."""
    path = tmp_path / "base.safetensors"
    save_model(bench.base, path, bench.image_shape[1:])
    return path


class Guarded:
    """Runs Python in processes that log, and fail, when any of them reads a dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "datasets.log"
        self._site = folder / "site"
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(GUARD)

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self._site), "DATASET_LOG": str(self.log)},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def forgetune(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        stores = ("--artifacts", str(self.folder / "artifacts"))
        return self.python("from search.cli import main; main()", *arguments, *stores)


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


READS = """
import pathlib, numpy, sklearn.datasets, trainables.data.dataset, trainables.data.sources
from trainables.artifacts import materials
where = pathlib.Path(".")
for attempt in (
    lambda: numpy.load("some.npz"),
    lambda: sklearn.datasets.load_digits(),
    lambda: trainables.data.sources.read("digits", where),
    lambda: trainables.data.dataset.load("digits", where, 0.2),
    lambda: materials.read("digits", where),
    lambda: materials.load("digits", where, 0.2),
    lambda: trainables.data.sources.source("digits").read("digits", where),
):
    try:
        attempt()
    except RuntimeError as error:
        print(error)
"""


def test_the_guard_sees_every_way_to_a_dataset(guarded: Guarded) -> None:
    seen = [
        *("numpy.load", "sklearn.datasets.load_digits"),
        *["trainables.data.sources.read", "trainables.data.dataset.load"] * 2,
        "numpy.loadtxt",
    ]
    done = guarded.python(READS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} was called" for name in seen]
    assert guarded.log.read_text().splitlines() == seen
    guarded.log.unlink()
    assert guarded.forgetune("trial", "--method", "original").returncode != 0
    assert guarded.log.read_text() == "trainables.data.sources.read\n"


def test_a_study_needs_nothing_but_weights(
    tmp_path: Path, guarded: Guarded, base: Path, bench: Workbench
) -> None:
    (tmp_path / "study.toml").write_text(SPEC)
    given = ("study.toml", "--zero-shot", "--weights", "base.safetensors", "--forget", "1")
    done = guarded.forgetune("run", *given, "--trials", "3", "--save", "out.safetensors")
    assert done.returncode == 0, done.stderr
    rows = results.scan(tmp_path / "results", "zdelete-base-allcnn-forget-1").to_pylist()
    assert [(row["state"], row["zero_shot"]) for row in rows] == [("complete", True)] * 3
    assert {(row["objective"], row["dataset"]) for row in rows} == {("synthetic", "none")}
    real = [name for name in METRICS if not name.startswith("synthetic")]
    assert {row[f"m_{name}"] for row in rows for name in real} == {None}
    assert all(0 <= row["m_synthetic_gap"] <= 100 for row in rows)
    for row in rows:
        counts = json.loads(row["reported_json"])["samples_by_class"]
        assert (len(counts), sum(counts)) == (3, 90 * row["p_generators"])

    before, after = load_file(base), load_file(tmp_path / "out.safetensors")
    copy = catalogue.build("allcnn", bench.image_shape, 3, bench.scenario.width, seed=0)
    copy.load_state_dict(after)
    assert "out.safetensors: it is right for" in done.stderr
    assert "(base model: 100.0 and 100.0; synthetic images)" in done.stderr
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert inspect(tmp_path / "out.safetensors").image_size(None) == bench.image_shape[1:]

    artifacts = tmp_path / "artifacts"
    built = {path: path.stat().st_mtime_ns for path in artifacts.glob("*.*")}
    kinds = sorted(path.name.split("-")[0] for path in built if path.suffix == ".json")
    assert kinds == ["base", *["kegnet"] * (2 + 2)], "two members, two held out"
    again = guarded.forgetune("run", *given, "--trials", "1", "--name", "another", "--seed", "5")
    assert again.returncode == 0, again.stderr
    assert "artifacts: 0 built, 5 found" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in artifacts.glob("*.*")} == built
    assert len(results.scan(tmp_path / "results", "another")) == 1
    assert not guarded.log.exists(), guarded.log.read_text()


@dataclass(frozen=True)
class Greedy:
    """Declares what a zero-shot method may, and reaches for something else."""

    wanted: str = "retain"
    needs: ClassVar[frozenset[Access]] = ZERO_SHOT

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        getattr(access, self.wanted)
        yield model


@pytest.mark.parametrize(
    ("wanted", "called"),
    [
        ("forget", "forget data"),
        ("retain", "retain data"),
        ("gans", "per-class GANs"),
        ("log", "training log"),
    ],
)
def test_a_zero_shot_method_that_reaches_for_data_gets_an_error(
    base: Path, places: Places, monkeypatch: pytest.MonkeyPatch, wanted: str, called: str
) -> None:
    monkeypatch.setitem(methods.METHODS, "greedy", f"{__name__}:Greedy")
    scenario = Scenario(
        dataset=NO_DATASET,
        forget=(1,),
        width=0.1,
        weights=str(base),
        image_shape=(1, 8, 8),
        num_classes=3,
        inversion=Inversion(steps=5, batch_size=8),
    )
    bench = Workbench(scenario, places, torch.device("cpu"))
    outcome, model = run_trial(bench, "greedy", {"wanted": wanted}, seed=0)
    assert (outcome.state, outcome.metrics, model) == (State.CRASHED, {}, None)
    assert str(outcome.reason).startswith(f"AccessDenied: the method reached for {called}; ")
    assert outcome.zero_shot
