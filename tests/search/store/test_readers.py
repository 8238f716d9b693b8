"""That others' tools read what we write: Optuna from the journal, pandas, Polars and DuckDB from
the Parquet files, each in the line that the README gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import optuna
import pandas as pd
import polars as pl
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search.definition.space import SearchSpace
from search.ledger.steering import OBJECTIVES
from search.store import results
from tests.search.toys import (
    FINGERPRINT,
    measured,
    open_ledger,
    run_study,
    settle,
    stored,
    toy_outcome,
    toy_row,
    toy_spec,
)
from trainables.outcome import State

# Optuna, as optuna-dashboard uses it


def opened(root: Path, name: str = "toy") -> JournalStorage:
    """A study's journal, opened as optuna-dashboard opens a file."""
    return JournalStorage(JournalFileBackend(str(results.study_folder(root, name) / "journal.log")))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_optuna_sees_the_numbers_parameters_and_values_of_the_rows(
    tmp_path: Path, objective: str
) -> None:
    synthetic: dict[str, Any] = {
        "synthetic_forget_accuracy": 3.0,
        "synthetic_retain_accuracy": 80.0,
    }
    with open_ledger(tmp_path, objective=objective) as ledger:
        while (ticket := ledger.ask()) is not None:
            ledger.settle(ticket, toy_outcome(ticket, **synthetic))
    study = optuna.load_study(study_name="toy", storage=opened(tmp_path))
    rows = stored(tmp_path)
    assert [trial.number for trial in study.trials] == [row["number"] for row in rows]
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    for trial, row in zip(study.trials, rows, strict=True):
        assert trial.params == json.loads(row["params_json"])
        assert trial.params == {name: row[f"p_{name}"] for name in trial.params}
        assert trial.values == [row[f"m_{name}"] for name in OBJECTIVES[objective]]
        assert trial.distributions == SearchSpace("finetune").distributions


def test_optuna_lists_the_study_with_its_directions(tmp_path: Path) -> None:
    run_study(tmp_path, name="another-1.2")
    (summary,) = optuna.study.get_all_study_summaries(opened(tmp_path, "another-1.2"))
    assert summary.study_name == "another-1.2"
    assert summary.directions == [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    assert summary.n_trials == 6


def test_optuna_finds_the_same_best_trials(tmp_path: Path) -> None:
    pareto, gap = tmp_path / "pareto", tmp_path / "gap"
    run_study(pareto)
    run_study(gap, objective="gap")
    for root in (pareto, gap):
        study = optuna.load_study(study_name="toy", storage=opened(root))
        assert [trial.number for trial in study.best_trials] == [0]
    best = optuna.load_study(study_name="toy", storage=opened(gap)).best_value
    assert best == min(row["m_gap"] for row in stored(gap))


def test_optuna_sees_how_each_trial_ended(tmp_path: Path) -> None:
    ends = [State.COMPLETE, State.CRASHED, State.DIVERGED, State.PRUNED, State.OOM]
    with open_ledger(tmp_path, objective="gap", trials=len(ends)) as ledger:
        for state in ends:
            ticket = ledger.ask()
            assert ticket is not None
            gaps = [7.0, 5.0] if state is State.PRUNED else []
            ledger.settle(ticket, toy_outcome(ticket, state, gaps=gaps))
    study = optuna.load_study(study_name="toy", storage=opened(tmp_path))
    assert [(trial.state, trial.values) for trial in study.trials] == [
        (TrialState.COMPLETE, [1.0]),
        (TrialState.FAIL, None),
        (TrialState.COMPLETE, [100.0]),  # what its sampler was told, not what was measured
        (TrialState.PRUNED, [5.0]),
        (TrialState.FAIL, None),
    ]
    assert study.trials[3].intermediate_values == {1: 7.0, 2: 5.0}


def test_optuna_reads_a_study_while_it_runs_and_leaves_the_journal_as_it_is(tmp_path: Path) -> None:
    journal = results.study_folder(tmp_path, "toy") / "journal.log"
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 2)
        running = ledger.ask()
        assert running is not None
        before = journal.read_bytes()
        reader = opened(tmp_path)
        study = optuna.load_study(study_name="toy", storage=reader)
        assert [trial.state for trial in study.trials] == [
            *[TrialState.COMPLETE] * 2,
            TrialState.RUNNING,
        ]
        assert study.trials[2].params == running.hyperparameters
        assert journal.read_bytes() == before
        ledger.settle(running, toy_outcome(running))
        settle(ledger)
        assert len(study.best_trials) == 1
        assert len(study.trials) == 6, "a reader sees what came after it opened"
    assert sorted(path.name for path in journal.parent.glob("journal*")) == ["journal.log"]


def test_optuna_judges_importance_from_the_journal(tmp_path: Path) -> None:
    run_study(tmp_path, objective="gap", trials=12)
    study = optuna.load_study(study_name="toy", storage=opened(tmp_path))
    found = optuna.importance.get_param_importances(study)
    assert found.keys() == SearchSpace("finetune").distributions.keys()


def test_the_row_is_in_the_journal_too(tmp_path: Path) -> None:
    rows = run_study(tmp_path)
    study = optuna.load_study(study_name="toy", storage=opened(tmp_path))
    for trial, row in zip(study.trials, rows, strict=True):
        copy = json.loads(trial.user_attrs["row"])
        times = {name: row[name].timestamp() for name in ("started", "finished")}
        assert measured(copy) == measured(row | times)


# Readers of Parquet

Reader = Callable[[], Any]

ONE_STUDY: Mapping[str, Reader] = {
    "pandas": lambda: pd.read_parquet("results/study=toy/trials"),
    "polars": lambda: pl.read_parquet("results/study=toy/trials/*.parquet"),
    "duckdb": lambda: duckdb.sql("FROM 'results/study=toy/trials/*.parquet'").df(),  # type: ignore[union-attr]
}

ALL_STUDIES: Mapping[str, Reader] = {
    "pandas": lambda: pd.concat(
        map(pd.read_parquet, Path("results").glob("study=*/*/*.parquet")), ignore_index=True
    ),
    "polars": lambda: pl.concat(
        map(pl.read_parquet, Path("results").glob("study=*/*/*.parquet")), how="diagonal_relaxed"
    ),
    "duckdb": lambda: duckdb.sql(  # type: ignore[union-attr]
        "FROM read_parquet('results/study=*/*/*.parquet', union_by_name=true)"
    ).df(),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished studies of two methods, one of loose parts, one joined with a part beside it."""
    root = tmp_path_factory.mktemp("finished")
    run_study(root)
    with open_ledger(root, name="2024", method="mugan", trials=5) as ledger:
        settle(ledger, 4)
        ledger.compact()
        ticket = ledger.ask()
        assert ticket is not None
        ledger.settle(ticket, toy_outcome(ticket, gap=0.25))
    assert len(list((root / "study=toy" / "trials").iterdir())) == 6
    assert len(list((root / "study=2024" / "trials").iterdir())) == 2
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished studies, in the current directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "results"))


def hyperparameters(columns: Any) -> set[str]:
    return {name for name in columns if name.startswith("p_")}


@pytest.mark.parametrize("reader", ONE_STUDY)
def test_one_study_is_read_in_one_line(reader: str, root: Path) -> None:
    frame = ONE_STUDY[reader]()
    expected = results.scan(root, "toy")
    assert len(frame) == expected.num_rows == 6
    assert frame["m_gap"].min() == 1.0
    assert list(frame.columns) == expected.column_names
    assert set(frame["study"]) == {"toy"}
    for name in ("number", "state", "seed", "m_gap", "p_learning_rate", "params_json"):
        assert sorted(frame[name]) == sorted(expected[name].to_pylist())


@pytest.mark.parametrize("reader", ALL_STUDIES)
def test_all_studies_are_read_in_one_line(reader: str, root: Path) -> None:
    frame = ALL_STUDIES[reader]()
    expected = results.scan(root)
    assert len(frame) == expected.num_rows == 11
    assert frame["m_gap"].min() == 0.25
    assert set(frame.columns) == set(expected.column_names)
    assert hyperparameters(frame.columns) > {"p_epochs", "p_temperature", "p_learning_rate"}
    assert sorted(frame["study"]) == ["2024"] * 5 + ["toy"] * 6
    for name in ("number", "state", "seed", "m_gap", "p_learning_rate", "params_json"):
        assert sorted(frame[name]) == sorted(expected[name].to_pylist())


@pytest.mark.parametrize("reader", ALL_STUDIES)
def test_the_best_row_can_be_picked(reader: str, root: Path) -> None:
    frame = ALL_STUDIES[reader]()
    if isinstance(frame, pl.DataFrame):
        best = frame.sort("m_gap").row(0, named=True)
    else:
        best = frame.loc[frame["m_gap"].idxmin()].to_dict()
    assert (best["study"], best["number"], best["method"]) == ("2024", 4, "mugan")
    assert json.loads(best["params_json"])["temperature"] == best["p_temperature"]


@pytest.mark.parametrize("reader", ALL_STUDIES)
def test_what_is_set_aside_or_half_written_is_not_read(reader: str, root: Path) -> None:
    trials = root / "study=toy" / "trials"
    (trials / "part-000009-1.parquet.damaged-1700000000").write_bytes(b"torn")
    (trials / ".part-000010-1.parquet.0a1b2c3d.tmp").write_bytes(b"torn")
    assert len(ALL_STUDIES[reader]()) == 11


@pytest.mark.parametrize("reader", ALL_STUDIES)
def test_sweeps_and_class_maps_below_the_folder_are_not_read_with_the_studies(
    reader: str, root: Path
) -> None:
    for below in ("sweeps", "classes"):
        folder = results.study_folder(root / below, "toy")
        results.write_row(folder, toy_row(0, m_gap=0.0))
    assert len(ALL_STUDIES[reader]()) == results.scan(root).num_rows == 11


@pytest.mark.parametrize("reader", ALL_STUDIES)
def test_methods_that_type_a_hyperparameter_otherwise_are_read_together(
    reader: str, root: Path
) -> None:
    for name, rate in (("whole", 1), ("word", "slow")):
        folder = results.study_folder(root, name)
        results.write_row(folder, toy_row(0, {"learning_rate": rate}, study=name))
    frame = ALL_STUDIES[reader]()
    assert len(frame) == 13
    assert "slow" in set(frame["p_learning_rate"])


def test_a_description_is_plain_json(root: Path) -> None:
    described = json.loads((root / "study=toy" / "study.json").read_text(encoding="utf-8"))
    assert described["spec"] == toy_spec().model_dump(mode="json")
    assert described["dataset_fingerprint"] == FINGERPRINT
