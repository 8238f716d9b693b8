"""Commands and options beyond one study, through the real command line, with real Ray.

Apart from `test_end_to_end.py`, so that two cores share them.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from search.store import results
from tests.test_end_to_end import SPEC, forgetune, here
from trainables import Places, run_trial
from trainables.workbench import Workbench

__all__ = ["here"]


def test_a_sweep_runs_every_point_equally_often_and_goes_on(here: Path, places: Places) -> None:
    stores = ("--artifacts", str(places.artifacts), "--results", "designed")
    sweep = ("sensitivity", "learning_rate=1e-6,1e-2", "--spec", "study.toml", *stores)
    settings = ("--set", "samples_per_class=80", "--format", "csv")
    plots = ("--plot", "sweep.html")
    first = forgetune(here, places, *sweep, *settings, "--repeats", "1", *plots)
    assert first.returncode == 0, first.stderr
    assert "the defaults of mugan" in first.stderr, "nothing was searched yet"
    low, high = csv.DictReader(io.StringIO(first.stdout))
    assert (low["learning_rate"], high["learning_rate"]) == ("1e-06", "0.01")
    assert float(low["D_f acc mean"]) > 50 > float(high["D_f acc mean"])
    assert "Plotly.newPlot" in (here / "sweep.html").read_text()

    longer = forgetune(here, places, *sweep, *settings, "--repeats", "2")
    assert longer.returncode == 0, longer.stderr
    (study,) = results.study_names(here / "designed" / "sweeps")
    found = results.scan(here / "designed" / "sweeps", study).to_pylist()
    assert [row["p_learning_rate"] for row in found] == [1e-6, 1e-2, 1e-6, 1e-2]
    assert {row["p_samples_per_class"] for row in found} == {80}
    assert len({row["seed"] for row in found}) == 4
    described = results.load_json(here / "designed" / "sweeps" / f"study={study}" / "study.json")
    assert described is not None
    assert described["made_from"] == [
        {"study": "three", "trial": None, "set": {"samples_per_class": 80}}
    ]


def test_each_class_is_forgotten_in_turn(here: Path, places: Places) -> None:
    stores = ("--artifacts", str(places.artifacts), "--results", "designed")
    settings = ("--set", "learning_rate=3e-3", "--set", "samples_per_class=150")
    command = ("classes", "--spec", "study.toml", *settings, "--repeats", "1", *stores)
    first = forgetune(here, places, *command, "--format", "csv", "--plot", "map.html")
    assert first.returncode == 0, first.stderr
    lines = list(csv.DictReader(io.StringIO(first.stdout)))
    assert [(line["forget"], line["model"]) for line in lines] == [
        (label, model) for label in "012" for model in ("unlearned", "retrained")
    ]
    for line in lines:
        own = float(line[f"{line['forget']} mean"])
        others = [float(line[f"{label} mean"]) for label in "012" if label != line["forget"]]
        assert own <= 20, line
        assert sum(others) / 2 >= 60, line
    assert "Plotly.newPlot" in (here / "map.html").read_text()

    again = forgetune(here, places, *command)
    assert again.returncode == 0
    assert "starting Ray" not in again.stderr, "all was there"
    assert "on average" in again.stderr


def test_methods_are_compared_over_seeds_and_nothing_is_run_twice(
    here: Path, places: Places, three_digits: Path
) -> None:
    common = SPEC.format(dataset=three_digits).partition("[space]")[0]
    (here / "common.toml").write_text(common.replace('name = "three"\n', ""))
    command = ("compare", "finetune", "original", "--spec", "common.toml", "--trials", "2")
    stores = ("--artifacts", str(places.artifacts), "--results", "compared")
    repeats = ("--top", "1", "--seeds", "2")
    first = forgetune(here, places, *command, *repeats, *stores, "--format", "csv")
    assert first.returncode == 0, first.stderr
    lines = [line.split(",") for line in first.stdout.splitlines()]
    assert [line[0] for line in lines[1:]] == [
        *("original", "retrained", "mask", "finetune", "original")
    ], first.stdout + first.stderr
    assert [line[1] for line in lines[1:]] == ["1", "1", "1", "2", "2"]

    confirmed = results.scan(here / "compared" / "confirmed").to_pylist()
    searched = results.scan(here / "compared").to_pylist()
    assert len(confirmed) == 4
    assert not {row["seed"] for row in confirmed} & {row["seed"] for row in searched}
    (chosen,) = {row["params_json"] for row in confirmed if row["method"] == "finetune"}
    best = min(
        (row for row in searched if row["method"] == "finetune"), key=lambda row: row["m_gap"]
    )
    assert json.loads(chosen)["learning_rate"] == best["p_learning_rate"]
    name = f"{best['study']}-{best['number']}-base-0"
    path = here / "compared" / "confirmed" / f"study={name}" / "study.json"
    described = results.load_json(path) or {}
    assert described["made_from"] == [{"study": best["study"], "trial": best["number"], "set": {}}]

    again = forgetune(here, places, *command, *repeats, *stores, "--format", "markdown")
    assert again.returncode == 0
    assert "starting Ray" not in again.stderr, "all was there"
    assert "| finetune |" in again.stdout


def test_fused_trials_come_to_what_they_come_to_alone(
    here: Path, places: Places, bench: Workbench
) -> None:
    """Up to rounding, which may move a sample of some hundreds across a boundary."""
    fused = ("--name", "fused", "--fuse", "3", "--trials", "3")
    done = forgetune(here, places, "run", "study.toml", *fused)
    assert done.returncode == 0, done.stderr
    rows = results.scan(here / "results", "fused").to_pylist()
    assert [(row["together"], row["state"]) for row in rows] == [(3, "complete")] * 3
    for row in rows:
        values = json.loads(row["params_json"])
        alone, _ = run_trial(bench, "mugan", values, row["seed"], pool=0)
        for metric in ("forget_accuracy", "retain_accuracy", "test_retain_accuracy"):
            assert row[f"m_{metric}"] == pytest.approx(alone.metrics[metric], abs=3)
