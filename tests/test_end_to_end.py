"""Studies through the real command line, on real images, with real Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray import tune

from search import Study, StudySpec
from search.store import results
from trainables import Places, Scenario, trainable

SPEC = """
name = "three"
method = "mugan"
trials = 4

[scenario]
dataset = "{dataset}"
forget = ["1"]
width = 0.1
validation_fraction = 0.2
epochs = 6
batch_size = 32
gan_steps = 400

[space]
learning_rate = "1e-4..3e-2"
samples_per_class = "50..150"
temperature = 4
"""


@pytest.fixture(scope="module")
def here(root: Path, three_digits: Path) -> Path:
    folder = root / "end-to-end"
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(SPEC.format(dataset=three_digits))
    return folder


def command(places: Places, *arguments: str) -> list[str]:
    run = "from search.cli import main; main()"
    stores = ["--artifacts", str(places.artifacts)] if arguments[0] in ("run", "trial") else []
    return [sys.executable, "-c", run, *arguments, *stores]


def forgetune(here: Path, places: Places, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(places, *arguments), cwd=here, capture_output=True, text=True, timeout=280
    )


def rows(here: Path, study: str) -> dict[int, dict[str, Any]]:
    return {row["number"]: row for row in results.scan(here / "results", study).to_pylist()}


def test_a_study_runs_extends_and_its_best_trial_can_be_replayed(
    here: Path, places: Places
) -> None:
    first = forgetune(here, places, "run", "study.toml")
    assert first.returncode == 0, first.stderr
    assert "Pareto front" in first.stdout
    assert "Best configuration" in first.stdout
    before = rows(here, "three")
    assert sorted(before) == list(range(4))
    assert {row["state"] for row in before.values()} == {"complete"}
    assert all(50 <= row["p_samples_per_class"] <= 150 for row in before.values())
    assert {row["p_temperature"] for row in before.values()} == {4.0}

    longer = forgetune(here, places, "run", "study.toml", "--trials", "6")
    assert longer.returncode == 0, longer.stderr
    after = rows(here, "three")
    assert sorted(after) == list(range(6))
    assert all(after[number] == before[number] for number in before), "settled trials are kept"

    again = forgetune(here, places, "run", "study.toml", "--trials", "6")
    assert again.returncode == 0
    assert "starting Ray" not in again.stderr, "there was nothing left to run"
    assert rows(here, "three") == after

    other = forgetune(here, places, "run", "study.toml", "--set", "temperature=8")
    assert other.returncode == 2
    assert other.stderr.splitlines()[-1].startswith("forgetune: study three exists and is another")
    assert "temperature: 4 -> 8" in other.stderr

    best = forgetune(here, places, "best", "three", "--toml")
    (here / "best.toml").write_text(best.stdout)
    seed = best.stdout.split("--seed ")[1].split()[0]
    replayed = forgetune(here, places, "trial", "best.toml", "--seed", seed, "--json")
    assert replayed.returncode == 0, replayed.stderr
    outcome = json.loads(replayed.stdout)
    chosen = min(after.values(), key=lambda row: (row["m_gap"], row["m_forget_accuracy"]))
    assert outcome["seed"] == chosen["seed"]
    assert outcome["metrics"] == {
        name.removeprefix("m_"): value
        for name, value in chosen.items()
        if name.startswith("m_") and value is not None
    }, "the same trial gives the same numbers, in another process too"

    rerun = forgetune(here, places, "run", "best.toml")
    assert rerun.returncode == 0, rerun.stderr
    assert rows(here, "three-best")[0]["p_learning_rate"] == chosen["p_learning_rate"]


def test_a_class_that_is_named_by_another_s_number_stays_the_one_that_is_forgotten(
    here: Path, places: Places, three_digits: Path
) -> None:
    with np.load(three_digits) as arrays:
        np.savez(here / "shifted.npz", **arrays, classes=np.array(["1", "2", "3"]))
    text = SPEC.format(dataset="shifted.npz").replace("mugan", "finetune")
    text = text.replace('"three"', '"shifted"').split("[space]")[0]
    (here / "shifted.toml").write_text(text)
    given = ("shifted.toml", "--forget", "2", "--trials", "1", "--set", "epochs=1")
    ran = forgetune(here, places, "run", *given)
    assert ran.returncode == 0, ran.stderr
    assert "forgetting class 1 ('2')" in ran.stderr.splitlines()
    (row,) = rows(here, "shifted").values()
    assert (row["forget"], row["forget_names"]) == ("1", ["2"])

    best = forgetune(here, places, "best", "shifted", "--toml")
    (here / "shifted-best.toml").write_text(best.stdout)
    replayed = forgetune(
        *(here, places, "trial", "shifted-best.toml", "--seed", str(row["seed"]), "--json")
    )
    assert replayed.returncode == 0, replayed.stderr
    assert "forgetting class 1 ('2')" in replayed.stderr.splitlines()
    expected = {k.removeprefix("m_"): v for k, v in row.items() if k.startswith("m_")}
    assert json.loads(replayed.stdout)["metrics"] == {
        name: value for name, value in expected.items() if value is not None
    }


def test_a_killed_study_goes_on_where_it_was_and_only_one_process_runs_it(
    here: Path, places: Places
) -> None:
    arguments = ("run", "study.toml", "--name", "killed", "--trials", "16")
    arguments += ("--set", "samples_per_class=4000")
    driver = subprocess.Popen(
        command(places, *arguments), cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        parts = here / "results" / "study=killed" / "trials"
        deadline = time.monotonic() + 200
        while len(list(parts.glob("*.parquet"))) < 3:
            assert driver.poll() is None, "the driver ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = forgetune(here, places, *arguments)
        assert second.returncode == 2
        assert f"being run by process {driver.pid}" in second.stderr
        assert "process" in forgetune(here, places, "status", "killed").stdout
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    kept = rows(here, "killed")
    assert len(kept) >= 3

    finished = forgetune(here, places, *arguments)
    assert finished.returncode == 0, finished.stderr
    after = rows(here, "killed")
    assert sorted(after) == list(range(16))
    assert all(after[number] == kept[number] for number in kept)
    left = [path.name for path in (here / "results" / "study=killed").rglob("*.tmp")]
    assert left == []


def test_interrupting_a_study_says_how_to_go_on(here: Path, places: Places) -> None:
    arguments = ("run", "study.toml", "--name", "stopped", "--trials", "200")
    driver = subprocess.Popen(
        command(places, *arguments),
        cwd=here,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    parts = here / "results" / "study=stopped" / "trials"
    deadline = time.monotonic() + 200
    while not list(parts.glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "forgetune: interrupted; give the same command again to go on"
    assert 1 <= len(rows(here, "stopped")) < 200


def test_a_study_runs_from_python_and_stops_what_diverges(
    here: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    study = Study.from_toml(
        "study.toml",
        {
            "name": "python",
            "trials": 3,
            "space": {"learning_rate": [1e-2, 1e30]},
            "sampler": "grid",
        },
        places=places,
    )
    try:
        assert study.run()
        table = study.results().to_pandas()
    finally:
        ray.shutdown()
    states = dict(zip(table["p_learning_rate"], table["state"], strict=True))
    assert states[1e30] == "diverged"
    assert states[1e-2] == "complete"
    assert len(table) == 3


def test_the_trainable_works_in_anyones_tuner(
    here: Path, places: Places, scenario: Scenario, tmp_path: Path
) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=50)
    try:
        found = tune.Tuner(
            trainable("mugan", scenario, places=places),
            param_space={"learning_rate": tune.grid_search([1e-7, 1e-2]), "samples_per_class": 80},
            tune_config=tune.TuneConfig(metric="forget_accuracy", mode="min"),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
        assert not found.errors
        best = found.get_best_result()
        assert best.config["learning_rate"] == 1e-2
        assert best.metrics["forget_accuracy"] <= 20
        weights = Path(best.checkpoint.path) / "model.safetensors"
        assert os.path.getsize(weights) > 1000
    finally:
        ray.shutdown()


def test_the_default_specification_is_the_documented_one() -> None:
    spec = StudySpec()
    assert (spec.method, spec.trials, spec.sampler) == ("mugan", 100, "tpe")
    assert spec.scenario.dataset == "digits"
