"""The ledger: each trial once, whatever is interrupted, torn, deleted or full."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from search.definition.samplers import derive_seed
from search.ledger import description, hold
from search.ledger import ledger as ledger_module
from search.ledger.hold import StudyHeld
from search.ledger.journal import Journal
from search.ledger.ledger import Ledger
from search.ledger.optuna_study import OptunaStudy
from search.ledger.ticket import Ticket
from search.show.tables import as_toml
from search.store import results
from tests.search.toys import (
    FINGERPRINT,
    Holder,
    measured,
    only_line,
    open_ledger,
    python,
    run_study,
    settle,
    stored,
    toy_outcome,
    toy_spec,
)
from trainables import methods
from trainables.artifacts.files import write_whole
from trainables.errors import InvalidRequest
from trainables.outcome import State

FAILURES = [State.CRASHED, State.OOM, State.TIMEOUT, State.PRUNED]


@pytest.fixture(autouse=True, scope="module")
def entry_points_read_once() -> Iterator[None]:
    """Looking for third parties' methods would take most of these tests' time."""
    with pytest.MonkeyPatch.context() as patch:
        for package in ("trainables.methods", "spaces"):
            patch.setattr(f"{package}.entry_points", cache(entry_points), raising=False)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the toy study's files lie when it is run in `tmp_path`."""
    return results.study_folder(tmp_path, "toy")


def kill(ledger: Ledger) -> None:
    """Leave an open ledger as a killed process leaves it: only the kernel's lock is gone."""
    ledger._hold.lock.release()


def optuna_trials(folder: Path) -> list[FrozenTrial]:
    """A closed study's trials as Optuna reads them from the journal."""
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return optuna.load_study(study_name=None, storage=storage).trials


def front(folder: Path) -> list[int]:
    """The numbers of the trials on Optuna's own Pareto front, sorted."""
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name=None, storage=storage)
    return sorted(trial.number for trial in study.best_trials)


def told(trials: list[FrozenTrial]) -> list[Any]:
    """What Optuna knows of finished trials, without its clocks and counters."""
    return [
        (
            *(trial.number, trial.state, trial.params, trial.distributions),
            *(trial.values, trial.constraints, measured(json.loads(trial.user_attrs["row"]))),
        )
        for trial in trials
        if trial.state.is_finished()
    ]


def part(folder: Path, number: int, attempt: int = 1) -> Path:
    return folder / "trials" / results.part_name({"number": number, "attempt": attempt})


def disk_full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def same(ticket: Ticket | None, other: Ticket) -> bool:
    """Whether two tickets are for one trial: number, hyperparameters and seed."""
    assert ticket is not None
    return replace(ticket, attempt=1) == replace(other, attempt=1)


# Asking and settling


def test_each_number_is_handed_out_once_up_to_the_target(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        tickets = settle(ledger)
        assert [ticket.number for ticket in tickets] == [0, 1, 2, 3, 4, 5]
        assert [ticket.attempt for ticket in tickets] == [1] * 6
        assert ledger.ask() is None
        assert ledger.finished
        assert ledger.notes == []


def test_what_is_handed_out_is_not_handed_out_again_while_it_runs(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        tickets = [ledger.ask() for _ in range(7)]
        assert [ticket and ticket.number for ticket in tickets] == [0, 1, 2, 3, 4, 5, None]
        assert (ledger.settled, ledger.finished) == (0, False)
        for ticket in reversed(tickets[:6]):
            assert ticket is not None
            assert not ledger.finished
            ledger.settle(ticket, toy_outcome(ticket))
        assert (ledger.settled, ledger.finished) == (6, True)
        assert [row["number"] for row in ledger.rows] == [0, 1, 2, 3, 4, 5]


def test_a_settled_row_says_everything_about_its_trial(tmp_path: Path) -> None:
    values = {"seed": 5, "space": {"temperature": 3}}
    values["scenario"] = {"forget": [7, 2], "seed": 9, "precision": "bfloat16"}
    with open_ledger(tmp_path, method="mugan", trials=1, **values) as ledger:
        (ticket,) = settle(ledger)
    (row,) = stored(tmp_path)
    expected = {
        "study": "toy",
        "number": 0,
        "attempt": 1,
        "state": "complete",
        "reason": None,
        "method": "mugan",
        "dataset": "digits",
        "model": "allcnn",
        "forget": "2,7",
        "base_seed": 9,
        "precision": "bfloat16",
        "seed": ticket.seed,
        "sampler": "random",
        "started": results.timestamp(1_700_000_000.125),
        "finished": results.timestamp(1_700_000_001.875),
        "unlearn_seconds": 0.5,
        "evaluate_seconds": 0.25,
        "prepare_seconds": 3.0,
        "device": "cpu",
        "host": "toy-host",
        "m_forget_accuracy": 0.0,
        "m_retain_accuracy": 90.0,
        "m_test_gap": 1.5,
        "c_mia": None,
        "p_temperature": 3.0,
        "p_direction": "reference",
        "p_learning_rate": ticket.hyperparameters["learning_rate"],
        "p_samples_per_class": ticket.hyperparameters["samples_per_class"],
    }
    assert {key: row[key] for key in expected} == expected
    assert json.loads(row["params_json"]) == ticket.hyperparameters
    assert type(row["p_temperature"]) is float


def test_a_word_or_a_number_is_a_word_in_its_column_and_as_it_was_set_beside_it(
    tmp_path: Path,
) -> None:
    """A column has one type in a study, and `forgetune best --toml` writes what can be run."""
    with open_ledger(tmp_path, space={"layers": [2, "all"]}, trials=12) as ledger:
        while (ticket := ledger.ask()) is not None:
            ledger.settle(ticket, toy_outcome(ticket))
        rows = ledger.rows
        spec = ledger.spec.model_dump(mode="json")
    given = [json.loads(row["params_json"])["layers"] for row in rows]
    assert set(map(str, given)) == {"2", "all"}
    assert {type(value) for value in given} == {int, str}
    table = results.scan(tmp_path, rows[0]["study"])
    assert table["p_layers"].to_pylist() == [str(value) for value in given]
    for row in table.to_pylist():
        fixed = tomllib.loads(as_toml(row, spec))["space"]
        assert fixed["layers"] == json.loads(row["params_json"])["layers"]


def test_one_that_was_not_set_can_be_run_from_its_column() -> None:
    """There the default of a method is a word, too."""
    assert methods.make("zdelete", {"layers": "7"}) == methods.make("zdelete", {"layers": 7})
    assert methods.mixed("zdelete") == methods.mixed("finetune") == {"layers"}
    assert methods.mixed("gkt") == methods.mixed("original") == frozenset()


def test_a_trial_settles_once(tmp_path: Path, folder: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        first = ledger.settle(ticket, toy_outcome(ticket))
        files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        again = replace(ticket, attempt=2)
        assert ledger.settle(again, toy_outcome(ticket, State.CRASHED)) == first
        assert ledger.settle(ticket, toy_outcome(ticket, gap=99.0)) == first
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == files
        assert (ledger.rows, ledger.settled) == ([first], 1)


def test_a_trial_s_seed_follows_from_the_study_s_and_its_number(tmp_path: Path) -> None:
    with open_ledger(tmp_path, seed=11) as ledger:
        seeds = [ticket.seed for ticket in settle(ledger)]
    assert seeds == [derive_seed(11, "unlearning", number) for number in range(6)]
    assert [row["seed"] for row in stored(tmp_path)] == seeds
    with open_ledger(tmp_path, seed=12, name="other") as ledger:
        assert not set(seeds) & {ticket.seed for ticket in settle(ledger)}


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_equal_studies_hand_out_equal_trials(tmp_path: Path, sampler: str) -> None:
    handed = []
    for name in ("one", "two"):
        with open_ledger(tmp_path, sampler=sampler, name=name) as ledger:
            handed.append(settle(ledger, 3))
    assert handed[0] == handed[1]


def test_a_grid_ends_the_study_when_it_has_no_more_points(tmp_path: Path) -> None:
    space = {"learning_rate": [1e-3, 1e-4], "epochs": [1, 2], "batch_size": 64}
    space["batch_norm"] = "train"
    with open_ledger(
        tmp_path, method="finetune", sampler="grid", trials=100, space=space
    ) as ledger:
        assert ledger.target == 4
        assert ledger.notes == ["the grid has 4 points, so 4 trials are run"]
        tickets = settle(ledger)
        assert ledger.finished
    points = {tuple(sorted(ticket.hyperparameters.items())) for ticket in tickets}
    assert len(points) == len(tickets) == 4


def test_a_method_without_hyperparameters_is_run_as_often_as_asked(tmp_path: Path) -> None:
    with open_ledger(tmp_path, method="original", trials=3) as ledger:
        tickets = settle(ledger)
    assert [ticket.hyperparameters for ticket in tickets] == [{}, {}, {}]
    assert len({ticket.seed for ticket in tickets}) == 3


# Being interrupted

KILLED = """
import json, os, sys
from pathlib import Path
from tests.search.toys import open_ledger, settle
ledger = open_ledger(Path(sys.argv[1])).__enter__()
settle(ledger, 2)
handed = [ledger.ask(), ledger.ask()]
print(json.dumps([[t.number, t.hyperparameters, t.seed] for t in handed]), flush=True)
os._exit(9)
"""


def test_after_a_kill_settled_trials_stay_and_the_others_are_handed_out_again(
    tmp_path: Path,
) -> None:
    killed = python(KILLED, tmp_path)
    assert killed.returncode == 9, killed.stderr
    before = stored(tmp_path)
    assert [row["number"] for row in before] == [0, 1]
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == []
        assert list(map(measured, ledger.rows)) == list(map(measured, before))
        tickets = settle(ledger)
        assert ledger.finished
    handed = [[t.number, t.hyperparameters, t.seed] for t in tickets]
    assert handed[:2] == json.loads(killed.stdout)
    assert [number for number, *_ in handed] == [2, 3, 4, 5]
    assert stored(tmp_path)[:2] == before


@pytest.mark.parametrize(("sampler", "first"), [("random", 1), ("tpe", 14), ("grid", 1)])
def test_an_interrupted_study_draws_on_as_it_would_have(
    tmp_path: Path, sampler: str, first: int
) -> None:
    values = {"sampler": sampler, "trials": first + 3}
    with open_ledger(tmp_path, name="whole", **values) as ledger:
        whole = settle(ledger)
    tickets: list[Ticket] = []
    for count in (first, 1, 2):
        ledger = open_ledger(tmp_path, name="halting", **values).__enter__()
        tickets += settle(ledger, count)
        running = ledger.ask()
        kill(ledger)
        if running is not None:
            assert same(running, whole[running.number])
    assert tickets == whole


def test_tickets_handed_out_again_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    handed = [ledger.ask() for _ in range(4)]
    assert handed[1] is not None
    ledger.settle(handed[1], toy_outcome(handed[1]))
    kill(ledger)
    with open_ledger(tmp_path) as ledger:
        assert [ledger.ask() for _ in range(3)] == [handed[0], handed[2], handed[3]]
        fresh = ledger.ask()
        assert fresh is not None
        assert fresh.number == 4


@pytest.mark.parametrize("state", [State.COMPLETE, State.DIVERGED, State.CRASHED])
def test_a_trial_whose_row_was_written_but_not_told_has_settled(
    tmp_path: Path, folder: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    ticket = ledger.ask()
    assert ticket is not None
    with monkeypatch.context() as patch:
        patch.setattr(OptunaStudy, "tell", lambda self, row: None)
        ledger.settle(ticket, toy_outcome(ticket, state))
    kill(ledger)
    (before,) = stored(tmp_path)
    with open_ledger(tmp_path) as ledger:
        assert list(map(measured, ledger.rows)) == [measured(before)]
        following = ledger.ask()
        assert following is not None
        assert following.number == 1
    assert optuna_trials(folder)[0].state.is_finished()


def test_a_trial_that_was_half_told_has_settled(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    ticket = ledger.ask()
    assert ticket is not None
    with monkeypatch.context() as patch:
        patch.setattr(ledger._optuna.study, "tell", disk_full)
        with pytest.raises(InvalidRequest):
            ledger.settle(ticket, toy_outcome(ticket))
    kill(ledger)
    part(folder, 0).unlink()  # the row is in the journal, with a trial that still runs
    with open_ledger(tmp_path) as ledger:
        assert [row["number"] for row in ledger.rows] == [0]
    (trial,) = optuna_trials(folder)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.0, 90.0])


def test_a_trial_interrupted_while_it_was_drawn_is_drawn_as_it_would_have_been(
    tmp_path: Path,
) -> None:
    with open_ledger(tmp_path, name="whole") as ledger:
        whole = ledger.ask()
    assert whole is not None
    ledger = open_ledger(tmp_path).__enter__()
    ledger._optuna.ask(0).suggest_float("learning_rate", 1e-6, 1e-2, log=True)
    kill(ledger)
    with open_ledger(tmp_path) as ledger:
        assert same(ledger.ask(), whole)


def test_a_lock_of_optuna_s_that_was_left_behind_is_not_waited_for(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(seconds: float) -> None:
        raise AssertionError("Optuna waits for a lock that nobody holds")

    ledger = open_ledger(tmp_path).__enter__()
    settle(ledger, 1)
    kill(ledger)
    (folder / "journal.log.lock").symlink_to(folder / "journal.log")
    patient = SimpleNamespace(monotonic=lambda: 0.0, sleep=wait)
    monkeypatch.setattr(f"{JournalFileSymlinkLock.__module__}.time", patient)
    with open_ledger(tmp_path) as ledger:
        settle(ledger)
        assert ledger.finished


def test_a_study_that_has_finished_hands_out_nothing(tmp_path: Path) -> None:
    rows = run_study(tmp_path)
    with open_ledger(tmp_path) as ledger:
        assert (ledger.finished, ledger.ask()) == (True, None)
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))


def test_a_study_can_be_extended(tmp_path: Path) -> None:
    rows = run_study(tmp_path, trials=10)
    with open_ledger(tmp_path, trials=20) as ledger:
        assert (ledger.settled, ledger.finished) == (10, False)
        assert [ticket.number for ticket in settle(ledger)] == list(range(10, 20))
    found = stored(tmp_path)
    assert found[:10] == rows
    assert [row["number"] for row in found] == list(range(20))


def test_a_study_with_a_lower_target_has_finished_and_keeps_its_rows(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    settle(ledger, 3)
    ledger.ask()
    kill(ledger)
    rows = stored(tmp_path)
    with open_ledger(tmp_path, trials=2) as ledger:
        assert (ledger.settled, ledger.finished, ledger.ask()) == (2, True, None)
    assert stored(tmp_path) == rows


def test_a_study_can_be_extended_after_its_parts_were_joined(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger)
        ledger.compact()
    with open_ledger(tmp_path, trials=8) as ledger:
        assert [ticket.number for ticket in settle(ledger)] == [6, 7]
    assert [row["number"] for row in stored(tmp_path)] == list(range(8))


# Damage


def test_a_deleted_journal_is_rebuilt_with_the_same_trials(tmp_path: Path, folder: Path) -> None:
    space = {"temperature": [1.0, 2], "direction": "model"}
    values = {"method": "mugan", "mia_tolerance": 3.0, "space": space}
    states = [State.COMPLETE, State.DIVERGED, State.CRASHED, State.OOM, State.TIMEOUT]
    with open_ledger(tmp_path, **values) as ledger:
        ledger.record_references({"base": {"mia": 60.0}, "retrained": {"mia": 11.5}})
        for state in [*states, State.COMPLETE]:
            ticket = ledger.ask()
            assert ticket is not None
            ledger.settle(ticket, toy_outcome(ticket, state))
    rows, before = stored(tmp_path), told(optuna_trials(folder))
    assert len(before) == 6
    (folder / "journal.log").unlink()
    with open_ledger(tmp_path, **values) as ledger:
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
        assert ledger.finished
    assert told(optuna_trials(folder)) == before
    assert stored(tmp_path) == rows


def test_gaps_of_a_rebuilt_journal_are_drawn_again_as_they_were(
    tmp_path: Path, folder: Path
) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    handed = [ledger.ask() for _ in range(5)]
    for number in (1, 3):
        ticket = handed[number]
        assert ticket is not None
        ledger.settle(ticket, toy_outcome(ticket))
    kill(ledger)
    rows = stored(tmp_path)
    (folder / "journal.log").unlink()
    ledger = open_ledger(tmp_path).__enter__()
    assert list(map(measured, ledger.rows)) == list(map(measured, rows))
    assert [ledger.ask(), ledger.ask()] == [handed[0], handed[2]]
    kill(ledger)
    with open_ledger(tmp_path) as ledger:  # handed out again after another kill, too
        assert [ledger.ask() for _ in range(3)] == [handed[0], handed[2], handed[4]]
        fresh = ledger.ask()
        assert fresh is not None
        assert (fresh.number, ledger.ask()) == (5, None)


@pytest.mark.parametrize(("sampler", "kept"), [("random", 2), ("tpe", 15), ("grid", 2)])
def test_a_rebuilt_journal_draws_on_as_the_old_one_would_have(
    tmp_path: Path, sampler: str, kept: int
) -> None:
    values = {"sampler": sampler, "trials": kept + 2}
    with open_ledger(tmp_path, name="whole", **values) as ledger:
        whole = settle(ledger)
    with open_ledger(tmp_path, **values) as ledger:
        tickets = settle(ledger, kept)
    (results.study_folder(tmp_path, "toy") / "journal.log").unlink()
    with open_ledger(tmp_path, **values) as ledger:
        tickets += settle(ledger)
    assert tickets == whole


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_torn_last_line_of_the_journal_is_dropped_and_noted(
    tmp_path: Path, folder: Path, share: float
) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    settle(ledger, 3)
    kill(ledger)
    rows = stored(tmp_path)
    journal = folder / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: max(1, int(share * len(lines[-1])))])
    with open_ledger(tmp_path) as ledger:
        (note,) = ledger.notes
        assert only_line(note) == f"{journal}: the last line was torn and was dropped"
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
        assert [ticket.number for ticket in settle(ledger)] == [3, 4, 5]
    assert all(trial.state is TrialState.COMPLETE for trial in optuna_trials(folder))
    with open_ledger(tmp_path) as ledger:
        assert (ledger.notes, ledger.finished) == ([], True)


def test_a_journal_torn_in_its_first_line_is_begun_again(tmp_path: Path, folder: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 2)
    rows = stored(tmp_path)
    journal = folder / "journal.log"
    journal.write_bytes(journal.read_bytes()[:20])
    with open_ledger(tmp_path) as ledger:
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
        settle(ledger)
    assert [row["number"] for row in stored(tmp_path)] == list(range(6))


@pytest.mark.parametrize("garbage", [b"garbage", b"", b"\0\0\0\0", b"\xff\xfe", b'{"op_code":'])
def test_a_broken_line_in_the_journal_sets_it_aside_and_rebuilds_it(
    tmp_path: Path, folder: Path, garbage: bytes
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 4)
    rows, before = stored(tmp_path), told(optuna_trials(folder))
    journal = folder / "journal.log"
    lines = journal.read_bytes().splitlines()
    lines[len(lines) // 2] = garbage
    broken = b"\n".join(lines) + b"\n"
    journal.write_bytes(broken)
    with open_ledger(tmp_path) as ledger:
        (note,) = ledger.notes
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
    (aside,) = folder.glob("journal.log.damaged-*")
    assert only_line(note) == f"{journal}: damaged; set aside as {aside.name} and rebuilt"
    assert aside.read_bytes() == broken
    assert told(optuna_trials(folder)) == before
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == []
        assert [ticket.number for ticket in settle(ledger)] == [4, 5]


def test_a_truncated_part_is_set_aside_and_its_row_restored_from_the_journal(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 4)
    rows = stored(tmp_path)
    damaged = part(folder, 2)
    content = damaged.read_bytes()[:100]
    damaged.write_bytes(content)
    with open_ledger(tmp_path) as ledger:
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
        first, second = ledger.notes
        following = ledger.ask()
        assert following is not None
        assert following.number == 4
    (aside,) = folder.glob("*.damaged-*")
    assert aside.read_bytes() == content
    assert str(damaged) in only_line(first)
    assert f"set aside as {aside.name}" in first
    assert second == "trial 2: its row was restored from the journal"
    assert stored(tmp_path) == rows
    assert results.examine(tmp_path)[1] == []
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == []


@pytest.mark.parametrize("state", list(State))
def test_a_row_restored_from_the_journal_is_the_row_that_was_lost(
    tmp_path: Path, folder: Path, state: State
) -> None:
    values = {"method": "mugan", "space": {"direction": ["model", "reference"]}}
    with open_ledger(tmp_path, **values) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        ledger.settle(ticket, toy_outcome(ticket, state))
    before = results.read_study(folder)[0]
    part(folder, 0).unlink()
    with open_ledger(tmp_path, **values):
        pass
    assert results.read_study(folder)[0].equals(before)
    assert part(folder, 0).exists()


def test_a_joined_file_that_is_lost_is_restored_from_the_journal(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger)
        ledger.compact()
    rows = stored(tmp_path)
    (joined,) = (folder / "trials").iterdir()
    joined.write_bytes(b"PAR1")
    with open_ledger(tmp_path) as ledger:
        assert ledger.finished
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
    assert stored(tmp_path) == rows


def test_a_trial_whose_row_and_journal_are_both_lost_is_run_again(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path) as ledger:
        tickets = settle(ledger)
    rows = stored(tmp_path)
    (folder / "journal.log").unlink()
    part(folder, 2).write_bytes(b"PAR1")
    with open_ledger(tmp_path) as ledger:
        assert (ledger.settled, ledger.finished) == (5, False)
        assert settle(ledger) == [tickets[2]]
        assert ledger.finished
    assert stored(tmp_path) == rows


def test_a_part_put_back_after_its_trial_was_given_up_counts_again(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 3)
    rows = stored(tmp_path)
    (folder / "journal.log").unlink()
    content = part(folder, 1).read_bytes()
    part(folder, 1).unlink()
    with open_ledger(tmp_path) as ledger:
        assert ledger.settled == 2
    part(folder, 1).write_bytes(content)
    with open_ledger(tmp_path) as ledger:
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
        assert [ticket.number for ticket in settle(ledger)] == [3, 4, 5]


def test_a_told_trial_whose_row_is_lost_everywhere_does_not_keep_the_study_from_ending(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path, trials=3) as ledger:
        settle(ledger)
    part(folder, 1).unlink()
    journal = folder / "journal.log"
    lines = journal.read_text().splitlines(keepends=True)
    copies = [line for line in lines if '"trial_id":1,"user_attr"' in line]
    assert len(copies) == 1
    journal.write_text("".join(line for line in lines if line not in copies))
    with open_ledger(tmp_path, trials=3) as ledger:
        assert any("trial 1" in note for note in ledger.notes)
        settle(ledger)
        assert ledger.finished


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"null"])
def test_an_unreadable_description_is_set_aside_and_written_anew(
    tmp_path: Path, folder: Path, content: bytes
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 2)
    rows = stored(tmp_path)
    described = results.load_json(folder / "study.json")
    (folder / "study.json").write_bytes(content)
    with open_ledger(tmp_path) as ledger:
        (note,) = ledger.notes
        assert list(map(measured, ledger.rows)) == list(map(measured, rows))
    (aside,) = folder.glob("study.json.damaged-*")
    assert aside.name in only_line(note)
    assert aside.read_bytes() == content
    assert results.load_json(folder / "study.json") == described


DAMAGES = ["none", "tear journal", "break journal", "drop journal", "truncate part", "drop part"]
STEPS = st.lists(
    st.sampled_from(["ask", "settle", "settle", "fail", "lose", "compact"])
    | st.tuples(st.sampled_from(DAMAGES), st.floats(0, 1)),
    max_size=15,
)


def spoil(folder: Path, damage: str, where: float) -> None:
    """Damage one file of a study that nobody runs, `where` (0 to 1) of the way through."""
    journal = folder / "journal.log"
    parts = sorted((folder / "trials").glob("*.parquet"))
    if damage.endswith("part") and parts:
        chosen = parts[min(int(where * len(parts)), len(parts) - 1)]
        chosen.unlink() if damage == "drop part" else chosen.write_bytes(chosen.read_bytes()[:99])
    elif damage == "drop journal":
        journal.unlink()
    elif damage.endswith("journal"):
        lines = journal.read_bytes().splitlines(keepends=True)
        index = min(int(where * len(lines)), len(lines) - 1)
        if damage == "break journal":
            lines[index] = b"garbage\n"
        else:
            lines[-1] = lines[-1][: int(where * len(lines[-1]))]
        journal.write_bytes(b"".join(lines))


@settings(max_examples=10, deadline=None)
@given(steps=STEPS)
@example(steps=["ask", "settle", "ask", ("drop journal", 0.0), "ask", "settle", ("drop part", 0.0)])
@example(steps=["ask", "ask", "fail", "compact", "settle", ("truncate part", 0.0), "ask", "lose"])
@example(steps=["ask", "lose", "ask", "lose", "ask", "settle", ("break journal", 0.5), "ask"])
def test_whatever_breaks_settled_trials_stay_and_the_study_ends_with_each_trial_once(
    steps: list[Any],
) -> None:
    spec = toy_spec(retries=1, trials=5)
    with tempfile.TemporaryDirectory() as root:
        ledger = Ledger(spec, Path(root), FINGERPRINT).__enter__()
        running: list[Ticket] = []
        expected: dict[int, Any] = {}
        for step in steps:
            if step == "compact":
                ledger.compact()
            elif step == "ask":
                ticket = ledger.ask()
                running += [ticket] if ticket else []
            elif isinstance(step, tuple):
                kill(ledger)
                running = []
                spoil(ledger.folder, *step)
                ledger = Ledger(spec, Path(root), FINGERPRINT).__enter__()
                assert {row["number"]: measured(row) for row in ledger.rows} == expected
            elif running:
                ticket = running.pop(0)
                assert ticket.number not in expected
                if step == "lose":
                    row = ledger.lost(ticket, "killed", started=0.0)
                else:
                    state = State.COMPLETE if step == "settle" else State.DIVERGED
                    row = ledger.settle(ticket, toy_outcome(ticket, state))
                if row is not None:
                    found = results.read_study(ledger.folder)[0].to_pylist()
                    expected = {row["number"]: measured(row) for row in found}
        for ticket in running:
            ledger.settle(ticket, toy_outcome(ticket, State.COMPLETE))
        settle(ledger)
        assert ledger.finished
        kill(ledger)
        rows = stored(Path(root))
        assert [row["number"] for row in rows] == list(range(5))
        kept = [row for row in rows if row["number"] in expected]
        assert {row["number"]: measured(row) for row in kept} == expected


# Another study, another process


def test_another_specification_is_refused_with_the_differences(
    tmp_path: Path, folder: Path
) -> None:
    run_study(tmp_path)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = open_ledger(tmp_path, seed=1, scenario={"width": 0.5}, space={"epochs": 2}, trials=9)
    with pytest.raises(InvalidRequest) as caught:
        changed.__enter__()
    message = only_line(str(caught.value))
    for difference in ("scenario.width: 0.25 -> 0.5", "seed: 0 -> 1", "space.epochs: None -> 2"):
        assert difference in message
    assert "trials" not in message
    assert "--name" in message
    files.pop(folder / "running.json", None)
    left = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    left.pop(folder / "running.json", None)
    assert left == files
    with open_ledger(tmp_path) as ledger:  # the refusal let go of the study
        assert ledger.finished


@pytest.mark.parametrize(
    "values",
    [
        {"sampler": "tpe"},
        {"curves": True},
        {"metrics": ["anamnesis"]},
        {"retries": 0},
        {"trial_timeout": 5.0},
        {"concurrency": 1},
        {"resources": {"cpus_per_trial": 2, "gpus_per_trial": 0.5}},
    ],
)
def test_how_a_study_is_executed_may_change(tmp_path: Path, values: dict[str, Any]) -> None:
    rows = run_study(tmp_path, trials=3)
    with open_ledger(tmp_path, **values) as ledger:
        assert [ticket.number for ticket in settle(ledger)] == [3, 4, 5]
    assert stored(tmp_path)[:3] == rows
    described = results.load_json(results.study_folder(tmp_path, "toy") / "study.json")
    assert described is not None
    assert described["spec"] == toy_spec(**values).model_dump(mode="json")


def test_a_study_of_an_earlier_version_that_knew_fewer_settings_goes_on(
    tmp_path: Path, folder: Path
) -> None:
    run_study(tmp_path)
    described = json.loads((folder / "study.json").read_text())
    del described["spec"]["scenario"]["anamnesis_alpha"]
    del described["spec"]["pruner"]
    (folder / "study.json").write_text(json.dumps(described))
    with open_ledger(tmp_path) as ledger:
        assert ledger.finished
    described["spec"]["scenario"]["anamnesis_alpha"] = 0.5
    (folder / "study.json").write_text(json.dumps(described))
    with pytest.raises(InvalidRequest, match=r"scenario.anamnesis_alpha: 0.5 -> 0.05"):
        open_ledger(tmp_path).__enter__()


def test_other_images_under_the_same_name_are_refused(tmp_path: Path) -> None:
    run_study(tmp_path)
    with pytest.raises(InvalidRequest) as caught, Ledger(toy_spec(), tmp_path, "fedcba9876543210"):
        pass
    message = only_line(str(caught.value))
    assert f"dataset_fingerprint: {FINGERPRINT} -> fedcba9876543210" in message


def test_a_space_that_changed_with_the_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(tmp_path, method="finetune")

    def suggest(trial: optuna.Trial) -> dict[str, Any]:
        return {"epochs": trial.suggest_int("epochs", 1, 99)}

    monkeypatch.setattr("spaces.load", lambda method: suggest)
    with pytest.raises(InvalidRequest) as caught, open_ledger(tmp_path, method="finetune"):
        pass
    assert "space_fingerprint: " in only_line(str(caught.value))
    message = only_line(str(caught.value))
    assert "batch_norm: one of train, frozen -> fixed; " in message
    assert "epochs: 1..10 (linear, whole) -> 1..99 (linear, whole); " in message


def test_the_description_says_what_the_study_is(tmp_path: Path, folder: Path) -> None:
    with open_ledger(tmp_path, method="mugan"):
        described = results.load_json(folder / "study.json")
    assert described is not None
    assert described["schema"] == 1
    assert described["spec"] == toy_spec(method="mugan").model_dump(mode="json")
    assert described["space"]["samples_per_class"] == "100..700 (log, whole)"
    assert described["dataset_fingerprint"] == FINGERPRINT
    assert set(described["versions"]) == {"forgetune", "torch", "ray", "optuna"}


def test_references_stay_in_the_description_when_the_study_goes_on(
    tmp_path: Path, folder: Path
) -> None:
    references = {"base": {"mia": 60.0, "gap": 50.0}, "retrained": {"mia": 11.5, "gap": 0.0}}
    with open_ledger(tmp_path) as ledger:
        ledger.record_references(references)
        settle(ledger, 1)
    with open_ledger(tmp_path, trials=9):
        pass
    described = results.load_json(folder / "study.json")
    assert described is not None
    assert described["references"] == references


def test_a_study_that_ends_before_its_first_trial_leaves_nothing_behind(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path):
        assert folder.is_dir()
    assert not folder.exists()


def test_a_study_with_trials_or_a_folder_that_was_there_is_left(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path) as ledger:
        ticket = ledger.ask()
    with open_ledger(tmp_path) as ledger:
        assert ledger.ask() == ticket
    other = results.study_folder(tmp_path, "other")
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with open_ledger(tmp_path, name="other"):
        pass
    assert (other / "notes.txt").read_text() == "mine"


def test_a_study_that_another_process_runs_is_refused_with_that_process(tmp_path: Path) -> None:
    with Holder(tmp_path, running=2) as holder:
        files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        with pytest.raises(StudyHeld) as caught, open_ledger(tmp_path):
            pass
        message = only_line(str(caught.value))
        assert f"study toy is being run by process {holder.pid} on {os.uname().nodename}" in message
        assert "--name" in message
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files
        with open_ledger(tmp_path, name="another") as ledger:
            assert ledger.ask() is not None
    with open_ledger(tmp_path) as ledger:
        assert [ticket.number for ticket in settle(ledger)] == [0, 1, 2, 3, 4, 5]


def test_a_study_is_held_once_within_a_process_too(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        with pytest.raises(StudyHeld), open_ledger(tmp_path):
            pass
        settle(ledger)
    assert len(stored(tmp_path)) == 6


def test_closing_removes_the_note_of_who_runs_the_study(tmp_path: Path, folder: Path) -> None:
    with open_ledger(tmp_path):
        holder = results.load_json(folder / "running.json")
        assert holder is not None
        assert holder["pid"] == os.getpid()
    assert not (folder / "running.json").exists()


# What the sampler is told


def ended(root: Path, *states: State, **values: Any) -> None:
    """A study whose trials end in these states, one after the other."""
    with open_ledger(root, trials=len(states), **values) as ledger:
        for state in states:
            ticket = ledger.ask()
            assert ticket is not None
            ledger.settle(ticket, toy_outcome(ticket, state))
        assert ledger.finished


def test_a_complete_trial_is_told_with_its_validation_figures(tmp_path: Path, folder: Path) -> None:
    ended(tmp_path, State.COMPLETE, State.COMPLETE)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name="toy", storage=storage)
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert [trial.values for trial in study.trials] == [[0.0, 90.0], [2.5, 89.0]]


def test_a_study_of_the_gap_is_told_the_gap(tmp_path: Path, folder: Path) -> None:
    ended(tmp_path, State.COMPLETE, State.DIVERGED, State.COMPLETE, objective="gap")
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name="toy", storage=storage)
    assert study.direction.name == "MINIMIZE"
    assert [trial.value for trial in study.trials] == [1.0, 100.0, 3.0]


def test_a_diverged_trial_is_told_as_the_worst_and_is_never_on_the_front(
    tmp_path: Path, folder: Path
) -> None:
    ended(tmp_path, State.DIVERGED, State.COMPLETE, State.DIVERGED)
    trials = optuna_trials(folder)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert [trial.values for trial in trials] == [[100.0, 0.0], [2.5, 89.0], [100.0, 0.0]]
    assert front(folder) == [1]
    assert [row["m_forget_accuracy"] for row in stored(tmp_path)] == [None, 2.5, None]


@pytest.mark.parametrize("state", FAILURES)
def test_a_failed_trial_is_told_as_failed(tmp_path: Path, folder: Path, state: State) -> None:
    ended(tmp_path, state, State.COMPLETE)
    trials = optuna_trials(folder)
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert trials[0].values is None
    (row, _) = stored(tmp_path)
    assert (row["state"], row["reason"]) == (str(state), f"made to end as {state}")


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param(
            float("nan"),
        ),
        float("inf"),
    ],
)
def test_a_study_survives_a_complete_trial_whose_figures_are_no_numbers(
    tmp_path: Path, missing: float
) -> None:
    with open_ledger(tmp_path) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        ledger.settle(ticket, toy_outcome(ticket, retain_accuracy=missing))
    with open_ledger(tmp_path) as ledger:
        settle(ledger)
        assert ledger.finished


def constrained(root: Path, mias: list[float | None], tolerance: float | None) -> None:
    """A study whose trials have these MIAs (None: diverged); the retrained model has 10."""
    with open_ledger(root, trials=len(mias), mia_tolerance=tolerance) as ledger:
        ledger.record_references({"base": {"mia": 60.0}, "retrained": {"mia": 10.0}})
        for mia in mias:
            ticket = ledger.ask()
            assert ticket is not None
            if mia is None:
                ledger.settle(ticket, toy_outcome(ticket, State.DIVERGED))
            else:
                ledger.settle(ticket, toy_outcome(ticket, mia=mia, forget_accuracy=1.0))


def test_a_tolerance_makes_the_distance_in_mia_a_constraint(tmp_path: Path, folder: Path) -> None:
    constrained(tmp_path, [14.0, 5.0, 13.0, 7.0, 10.0, None], tolerance=3.0)
    distances = [1.0, 2.0, 0.0, 0.0, -3.0]
    assert [row["c_mia"] for row in stored(tmp_path)] == [*distances, None]
    told_constraints = [trial.constraints for trial in optuna_trials(folder)]
    assert told_constraints == [{"mia": value} for value in [*distances, 100.0]]
    # Retain accuracy falls with the number, so the first feasible trial is the front.
    assert front(folder) == [2]


def test_without_a_tolerance_there_is_no_constraint(tmp_path: Path, folder: Path) -> None:
    constrained(tmp_path, [99.0, 10.0, None], tolerance=None)
    assert [row["c_mia"] for row in stored(tmp_path)] == [None, None, None]
    assert [trial.constraints for trial in optuna_trials(folder)] == [{}, {}, {}]
    assert front(folder) == [0]


def test_a_tolerance_of_nothing_is_a_tolerance(tmp_path: Path, folder: Path) -> None:
    constrained(tmp_path, [12.0, 10.0], tolerance=0.0)
    assert [row["c_mia"] for row in stored(tmp_path)] == [2.0, 0.0]
    assert front(folder) == [1]


# Workers that die


def test_a_lost_trial_is_handed_out_again_until_its_retries_are_used_up(tmp_path: Path) -> None:
    with open_ledger(tmp_path, retries=2, trials=1) as ledger:
        first = ledger.ask()
        assert first is not None
        ticket = first
        for attempt in (2, 3):
            assert ledger.lost(ticket, "killed", started=1.0) is None
            assert ledger.rows == []
            again = ledger.ask()
            assert again is not None
            assert same(again, first)
            assert again.attempt == attempt
            ticket = again
        row = ledger.lost(ticket, "WorkerDied: node gone", started=1_700_000_000.0)
        assert row is not None
        assert ledger.ask() is None
        assert ledger.finished
    (found,) = stored(tmp_path)
    assert (found["state"], found["attempt"]) == ("crashed", 3)
    assert found["reason"] == "its worker died in each of 3 attempts: WorkerDied: node gone"
    assert found["started"] == results.timestamp(1_700_000_000.0)
    assert found["finished"] > found["started"]
    assert json.loads(found["params_json"]) == first.hyperparameters
    assert found["seed"] == first.seed


def test_a_lost_trial_that_ran_through_at_last_counts_once(tmp_path: Path) -> None:
    with open_ledger(tmp_path, trials=2) as ledger:
        first = ledger.ask()
        assert first is not None
        ledger.lost(first, "killed", started=1.0)
        assert [ticket.number for ticket in settle(ledger)] == [0, 1]
    assert [(row["number"], row["attempt"]) for row in stored(tmp_path)] == [(0, 2), (1, 1)]


def test_without_retries_a_lost_trial_settles_at_once(tmp_path: Path) -> None:
    with open_ledger(tmp_path, retries=0, trials=1) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        row = ledger.lost(ticket, "x" * 9000, started=1.0)
        assert row is not None
        assert len(row["reason"]) <= 500
        assert ledger.finished


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("OutOfMemoryError: task was killed by the memory monitor", "oom"),
        ("RayTaskError(OutOfMemory): CUDA", "oom"),
        ("WorkerCrashedError: unexpected", "crashed"),
    ],
)
def test_a_worker_that_ran_out_of_memory_is_told_from_one_that_died(
    tmp_path: Path, folder: Path, reason: str, state: str
) -> None:
    with open_ledger(tmp_path, retries=0, trials=1) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        ledger.lost(ticket, reason, started=1.0)
    assert [row["state"] for row in stored(tmp_path)] == [state]
    assert optuna_trials(folder)[0].state is TrialState.FAIL


# Folders that cannot be used


@pytest.mark.parametrize("blocked", ["results", "results/study=toy", "results/study=toy/trials"])
def test_a_file_in_place_of_a_folder_is_refused_in_one_line(tmp_path: Path, blocked: str) -> None:
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")
    with pytest.raises(InvalidRequest) as caught, open_ledger(tmp_path / "results") as ledger:
        settle(ledger)
    message = only_line(str(caught.value))
    assert str(path) in message
    assert "--results" in message
    path.unlink()
    assert len(run_study(tmp_path / "results")) == 6


def test_a_row_that_cannot_be_written_can_be_settled_later(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 2)
        ticket = ledger.ask()
        assert ticket is not None
        with monkeypatch.context() as patch:
            patch.setattr(results, "put", disk_full)
            with pytest.raises(InvalidRequest) as caught:
                ledger.settle(ticket, toy_outcome(ticket))
        message = only_line(str(caught.value))
        assert "No space left on device" in message
        assert str(folder) in message
        assert ledger.settled == 2
        ledger.settle(ticket, toy_outcome(ticket))
        settle(ledger)
        assert ledger.finished
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert len(list((folder / "trials").iterdir())) == 6


def test_a_row_that_could_not_be_written_is_run_again_by_the_next_run(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path) as ledger, monkeypatch.context() as patch:
        settle(ledger, 2)
        ticket = ledger.ask()
        assert ticket is not None
        patch.setattr(results, "put", disk_full)
        with pytest.raises(InvalidRequest):
            ledger.settle(ticket, toy_outcome(ticket))
    rows = stored(tmp_path)
    assert [row["number"] for row in rows] == [0, 1]
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == []
        tickets = settle(ledger)
    assert tickets[0] == ticket
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert stored(tmp_path)[:2] == rows


def test_a_journal_that_cannot_be_written_loses_and_doubles_nothing(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 2)
        ticket = ledger.ask()
        assert ticket is not None
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append_logs", disk_full)
            with pytest.raises(InvalidRequest) as caught:
                ledger.settle(ticket, toy_outcome(ticket))
        assert "No space left on device" in only_line(str(caught.value))
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2]
    with open_ledger(tmp_path) as ledger:
        assert [ticket.number for ticket in settle(ledger)] == [3, 4, 5]
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert len(told(optuna_trials(folder))) == 6


def test_a_trial_that_cannot_be_asked_for_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 1)
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append_logs", disk_full)
            with pytest.raises(InvalidRequest) as caught:
                ledger.ask()
        assert "No space left on device" in only_line(str(caught.value))
    with open_ledger(tmp_path) as ledger:
        settle(ledger)
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2, 3, 4, 5]


def test_references_that_cannot_be_written_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = {"base": {"mia": 60.0}, "retrained": {"mia": 10.0}}
    with open_ledger(tmp_path) as ledger:
        monkeypatch.setattr(description, "put", disk_full)
        with pytest.raises(InvalidRequest) as caught:
            ledger.record_references(references)
        assert "No space left on device" in only_line(str(caught.value))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            1,
        ),
        2,
    ],
)
def test_a_study_that_could_not_be_opened_is_not_held(
    tmp_path: Path, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def failing(path: Path, content: bytes) -> None:
        calls.append(path.name)
        if len(calls) == call:
            disk_full()
        write_whole(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(hold, "write_whole", failing)
        patch.setattr(description, "put", failing)
        with pytest.raises(InvalidRequest) as caught, open_ledger(tmp_path):
            pass
    assert calls[-1] == ["running.json", "study.json"][call - 1]
    assert "No space left on device" in only_line(str(caught.value))
    with open_ledger(tmp_path) as ledger:
        settle(ledger)
        assert ledger.finished


# Joining parts while a study runs


def kinds(folder: Path) -> tuple[int, int]:
    """How many joined files and how many single parts there are."""
    names = [path.name for path in (folder / "trials").iterdir()]
    joined = sum(name.startswith("compact-") for name in names)
    return joined, len(names) - joined


def test_loose_parts_are_joined_when_there_are_enough_of_them(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "COMPACT_EVERY", 3)
    found = []
    with open_ledger(tmp_path, trials=8) as ledger:
        while settle(ledger, 1):
            found.append(kinds(folder))
            assert [row["number"] for row in stored(tmp_path)] == list(range(len(found)))
    assert found == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 0), (1, 1), (1, 2)]


def test_loose_parts_of_an_earlier_run_are_counted(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "COMPACT_EVERY", 3)
    for _ in range(3):
        with open_ledger(tmp_path) as ledger:
            settle(ledger, 1)
    assert kinds(folder) == (1, 0)
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2]


def test_parts_are_left_alone_until_there_are_five_hundred(tmp_path: Path, folder: Path) -> None:
    assert ledger_module.COMPACT_EVERY == 500
    run_study(tmp_path)
    assert kinds(folder) == (0, 6)


def test_a_row_has_settled_even_if_the_parts_cannot_be_joined(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "COMPACT_EVERY", 2)

    def no_room_for_the_joined(path: Path, content: bytes) -> None:
        disk_full() if path.name.startswith("compact-") else write_whole(path, content)

    with open_ledger(tmp_path) as ledger, monkeypatch.context() as patch:
        settle(ledger, 1)
        patch.setattr(results, "put", no_room_for_the_joined)
        with pytest.raises(InvalidRequest, match="No space left on device"):
            settle(ledger, 1)
        assert ledger.settled == 2
    with open_ledger(tmp_path) as ledger:
        assert [ticket.number for ticket in settle(ledger)] == [2, 3, 4, 5]
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2, 3, 4, 5]


# Pruning


GAP_AND_PRUNER = {"objective": "gap", "pruner": "median", "trials": 8}
"""Median stopping, which begins to judge once five trials are complete."""


def pruned_study(root: Path, **values: Any) -> None:
    """Five complete trials with gaps of 10, 11, ... at both phases; the sixth, at 12.5, is worse
    than their median of 12; the seventh, at 11.5, is not."""
    with open_ledger(root, **GAP_AND_PRUNER, **values) as ledger:
        for number in range(5):
            ticket = ledger.ask()
            assert ticket is not None
            gaps = [10.0 + number, 10.0 + number]
            for length in (1, 2):
                outcome = toy_outcome(ticket, State.PRUNED, gaps=gaps[:length])
                assert not ledger.report(ticket, outcome)
            ledger.settle(ticket, toy_outcome(ticket, gaps=gaps, gap=gaps[-1]))
        worse, better = ledger.ask(), ledger.ask()
        assert worse is not None
        assert better is not None
        stopped = toy_outcome(worse, State.PRUNED, gaps=[12.5])
        assert ledger.report(worse, stopped)
        assert not ledger.report(better, toy_outcome(better, State.PRUNED, gaps=[11.5]))
        ledger.settle(worse, stopped)
        ledger.settle(better, toy_outcome(better, gaps=[11.5], gap=11.5))


def test_a_pruned_trial_is_told_as_pruned_at_its_last_value(tmp_path: Path, folder: Path) -> None:
    pruned_study(tmp_path)
    trials = optuna_trials(folder)
    assert [trial.state for trial in trials[:7]] == [
        *[TrialState.COMPLETE] * 5,
        TrialState.PRUNED,
        TrialState.COMPLETE,
    ]
    assert trials[5].values == [12.5]
    assert trials[4].intermediate_values == {1: 14.0, 2: 14.0}
    row = stored(tmp_path)[5]
    assert (row["state"], row["m_gap"], row["curve_gap"]) == ("pruned", None, [12.5])


def test_a_rebuilt_journal_knows_the_curves_and_prunes_on(tmp_path: Path, folder: Path) -> None:
    pruned_study(tmp_path)
    before = optuna_trials(folder)
    (folder / "journal.log").unlink()
    with open_ledger(tmp_path, **GAP_AND_PRUNER) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        assert ledger.report(ticket, toy_outcome(ticket, State.PRUNED, gaps=[12.5]))
    after = optuna_trials(folder)
    assert told(after) == told(before)
    for old, new in zip(before, after[:7], strict=True):
        assert new.intermediate_values == old.intermediate_values


def test_a_pruned_trial_whose_reports_were_lost_is_told_with_them(
    tmp_path: Path, folder: Path
) -> None:
    """Its part was written, and the program died before Optuna was told anything."""
    with open_ledger(tmp_path, **GAP_AND_PRUNER) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        ledger.settle(ticket, toy_outcome(ticket, State.PRUNED, gaps=[3.0, 2.0]))
    (trial,) = optuna_trials(folder)
    assert (trial.state, trial.values) == (TrialState.PRUNED, [2.0])
    assert trial.intermediate_values == {1: 3.0, 2: 2.0}


def test_a_pruned_trial_has_the_constraint_of_its_last_phase(tmp_path: Path) -> None:
    values = {**GAP_AND_PRUNER, "mia_tolerance": 5.0}
    with open_ledger(tmp_path, **values) as ledger:
        ledger.record_references({"retrained": {"mia": 20.0}})
        ticket = ledger.ask()
        assert ticket is not None
        row = ledger.settle(ticket, toy_outcome(ticket, State.PRUNED, gaps=[30.0, 1.0]))
    assert row["c_mia"] == abs(11 - 20) - 5


def test_a_curve_that_cannot_be_noted_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path, **GAP_AND_PRUNER) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        monkeypatch.setattr(Journal, "append_logs", disk_full)
        with pytest.raises(InvalidRequest, match="No space left on device"):
            ledger.report(ticket, toy_outcome(ticket, State.PRUNED, gaps=[1.0]))
        monkeypatch.undo()


# Synthetic objectives


def synthetic_study(root: Path, ends: list[tuple[State, float, float]], **values: Any) -> None:
    """A study steered by synthetic accuracies, whose trials end so; the real ones of
    `toy_metrics`, which fall with the number, say something else."""
    with open_ledger(root, trials=len(ends), objective="synthetic", **values) as ledger:
        for state, forget, retain in ends:
            ticket = ledger.ask()
            assert ticket is not None
            outcome = toy_outcome(
                ticket,
                state,
                synthetic_forget_accuracy=forget,
                synthetic_retain_accuracy=retain,
            )
            ledger.settle(ticket, outcome)
        assert ledger.finished


SYNTHETIC_ENDS = [
    (State.COMPLETE, 50.0, 60.0),
    (State.STARVED, 0.0, 0.0),
    (State.COMPLETE, 4.0, 99.0),
    (State.DIVERGED, 0.0, 0.0),
    (State.CRASHED, 0.0, 0.0),
    (State.COMPLETE, 3.0, 7.0),
]


def test_a_synthetic_study_is_told_the_synthetic_accuracies(tmp_path: Path, folder: Path) -> None:
    synthetic_study(tmp_path, SYNTHETIC_ENDS)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name="toy", storage=storage)
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    worst = [100.0, 0.0]
    assert [trial.values for trial in study.trials] == [
        *([50.0, 60.0], worst, [4.0, 99.0], worst, None, [3.0, 7.0])
    ]
    assert front(folder) == [2, 5]
    assert {row["objective"] for row in stored(tmp_path)} == {"synthetic"}
    assert [row["m_synthetic_forget_accuracy"] for row in stored(tmp_path)] == [
        *(50.0, None, 4.0, None, None, 3.0)
    ]


def test_a_synthetic_study_whose_journal_is_lost_is_told_the_same_again(
    tmp_path: Path, folder: Path
) -> None:
    synthetic_study(tmp_path, SYNTHETIC_ENDS)
    before = optuna_trials(folder)
    (folder / "journal.log").unlink()
    with open_ledger(tmp_path, trials=len(SYNTHETIC_ENDS), objective="synthetic") as ledger:
        assert ledger.finished
    assert told(optuna_trials(folder)) == told(before)
    assert front(folder) == [2, 5]


@pytest.mark.parametrize(
    ("objective", "worst"), [("pareto", [100.0, 0.0]), ("gap", [100.0]), ("synthetic", [100, 0])]
)
def test_a_starved_trial_is_told_as_the_worst_whatever_the_objective(
    tmp_path: Path, folder: Path, objective: str, worst: list[float]
) -> None:
    ended(tmp_path, State.STARVED, objective=objective)
    (trial,) = optuna_trials(folder)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, worst)
    (row,) = stored(tmp_path)
    assert (row["state"], row["m_gap"]) == ("starved", None)
    assert row["reason"] == "made to end as starved"


def test_a_study_without_data_records_that_it_has_no_references(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path, objective="synthetic", trials=1) as ledger:
        ledger.record_references({})
        ticket = ledger.ask()
        assert ticket is not None
        only = {"synthetic_forget_accuracy": 1.0, "synthetic_retain_accuracy": 98.0}
        ledger.settle(ticket, replace(toy_outcome(ticket), metrics=only))
    described = results.load_json(folder / "study.json")
    assert described is not None
    assert described["references"] == {}
    (row,) = stored(tmp_path)
    found = {name: value for name, value in measured(row).items() if name.startswith("m_")}
    assert found == {f"m_{name}": value for name, value in only.items()}
    assert row["c_mia"] is None
    (trial,) = optuna_trials(folder)
    assert trial.values == [1.0, 98.0]


@pytest.mark.parametrize("state", [State.COMPLETE, State.STARVED])
def test_what_a_method_reports_is_in_its_row(tmp_path: Path, state: State) -> None:
    facts = {"samples_by_class": [3, 0, 57], "note": "few"}
    with open_ledger(tmp_path, trials=2) as ledger:
        for reported in (facts, {}):
            ticket = ledger.ask()
            assert ticket is not None
            ended_so = toy_outcome(ticket, state)
            ledger.settle(ticket, replace(ended_so, reported=reported, zero_shot=bool(reported)))
    first, second = stored(tmp_path)
    assert json.loads(first["reported_json"]) == facts
    assert second["reported_json"] is None
    assert (first["zero_shot"], second["zero_shot"]) == (True, False)


def test_what_a_method_reported_is_restored_from_the_journal(tmp_path: Path, folder: Path) -> None:
    with open_ledger(tmp_path, trials=1) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        outcome = replace(toy_outcome(ticket), reported={"samples_by_class": [1, 2]})
        ledger.settle(ticket, replace(outcome, zero_shot=True))
    before = stored(tmp_path)
    part(folder, 0).unlink()
    with open_ledger(tmp_path, trials=1) as ledger:
        assert ledger.finished
    assert stored(tmp_path) == before
    assert json.loads(before[0]["reported_json"]) == {"samples_by_class": [1, 2]}


def test_a_row_says_how_long_its_trial_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials start at 1,700,000,000.125 and a second later each."""
    with open_ledger(tmp_path, trials=2) as ledger:
        monkeypatch.setattr(ledger_module.time, "time", lambda: 1_700_000_000.0)
        first = ledger.ask()
        monkeypatch.setattr(ledger_module.time, "time", lambda: 1_700_000_009.0)
        second = ledger.ask()
        assert first is not None
        assert second is not None
        ledger.settle(first, toy_outcome(first))
        ledger.settle(second, toy_outcome(second))
    waited = [row["queue_seconds"] for row in stored(tmp_path)]
    assert waited == [0.125, 0.0], "another clock may be behind: nobody waits less than nothing"


def test_accuracies_class_by_class_are_lists_in_the_row(tmp_path: Path) -> None:
    with open_ledger(tmp_path, trials=2) as ledger:
        for found in ([50.0, None, 100.0], []):
            ticket = ledger.ask()
            assert ticket is not None
            outcome = replace(toy_outcome(ticket), class_accuracy=found, test_class_accuracy=found)
            ledger.settle(ticket, outcome)
    rows = stored(tmp_path)
    assert [row["class_accuracy"] for row in rows] == [[50.0, None, 100.0], None]
    assert [row["test_class_accuracy"] for row in rows] == [[50.0, None, 100.0], None]


def test_rows_name_the_forget_classes_where_their_names_are_known(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path, scenario={"forget": [1, 3]}) as ledger:
        settle(ledger, 1)
        ledger.class_names = ["0", "a, b", "2", "3"]
        settle(ledger, 1)
    assert [(row["forget"], row["forget_names"]) for row in stored(tmp_path)] == [
        ("1,3", None),
        ("1,3", ["a, b", "3"]),
    ]
    for part in (folder / "trials").glob("*.parquet"):
        part.unlink()
    with open_ledger(tmp_path, scenario={"forget": [1, 3]}):
        assert stored(tmp_path)[1]["forget_names"] == ["a, b", "3"], "as the journal has it"


def test_what_was_built_for_a_study_stays_on_record(tmp_path: Path, folder: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.record_preparation({"base": 12.5, "gan 0": None})
        settle(ledger, 1)
    with open_ledger(tmp_path, trials=9) as ledger:
        ledger.record_preparation({"base": None, "gan 0": None, "gan 1": 3.0})
        ledger.record({"classes": ["a", "b"]})
    described = results.load_json(folder / "study.json")
    assert described is not None
    assert described["preparation"] == {"base": 12.5, "gan 0": None, "gan 1": 3.0}
    assert described["classes"] == ["a", "b"]


def test_what_a_killed_driver_was_just_writing_is_cleared_away(
    tmp_path: Path, folder: Path
) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 1)
    torn = [folder / ".study.json.0a.tmp", folder / "trials" / ".part-000001-1.parquet.1b.tmp"]
    for path in torn:
        path.write_bytes(b"half")
    with open_ledger(tmp_path) as ledger:
        assert ledger.settled == 1
    assert not any(path.exists() for path in torn)


PROBED = ["forget_accuracy", "retain_accuracy", "mia", "probe"]


def test_a_study_whose_gap_has_the_probe_is_steered_by_it(tmp_path: Path, folder: Path) -> None:
    with open_ledger(tmp_path, objective="gap", gap_terms=PROBED, trials=2) as ledger:
        for probe_gap, state in ((7.5, State.COMPLETE), (0.0, State.DIVERGED)):
            ticket = ledger.ask()
            assert ticket is not None
            ledger.settle(ticket, toy_outcome(ticket, state, probe_gap=probe_gap))
    assert [row["gap_terms"] for row in stored(tmp_path)] == [",".join(PROBED)] * 2
    # Trial 0's usual gap is 1.
    assert [trial.values for trial in optuna_trials(folder)] == [[7.5], [100.0]]


def test_a_trial_whose_probe_was_not_measured_has_no_gap_to_steer_by(tmp_path: Path) -> None:
    for name, objective in (("one", "gap"), ("two", "pareto")):
        values: dict[str, Any] = {"name": name, "objective": objective, "gap_terms": PROBED}
        with open_ledger(tmp_path, **values, trials=1) as ledger:
            settle(ledger, 1)
        (row,) = stored(tmp_path, name)
        assert (row["state"], row["m_gap"]) == ("crashed", None)
        assert "the probe cannot be measured" in row["reason"]


def test_a_study_with_the_probe_is_refused_where_the_retrained_model_has_none(
    tmp_path: Path,
) -> None:
    known = {"mia": 5.0}
    with open_ledger(tmp_path, gap_terms=PROBED) as ledger:
        with pytest.raises(InvalidRequest, match="the probe cannot be measured"):
            ledger.record_references({"retrained": known})
        ledger.record_references({"retrained": {**known, "probe": 80.0}, "control": known})


def test_pruners_judge_by_the_gap_that_steers(tmp_path: Path, folder: Path) -> None:
    values = {**GAP_AND_PRUNER, "gap_terms": PROBED}
    with open_ledger(tmp_path, **values) as ledger:
        ticket = ledger.ask()
        assert ticket is not None
        outcome = toy_outcome(ticket, State.PRUNED, gaps=[1.0])
        assert not ledger.report(ticket, outcome), "there is nothing to judge by"
        outcome.curve[0]["probe_gap"] = 9.0
        ledger.report(ticket, outcome)
    assert optuna_trials(folder)[0].intermediate_values == {1: 9.0}
