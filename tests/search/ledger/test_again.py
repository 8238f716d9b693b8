"""Trials that are run again: the same trials, with another end, whatever interrupts that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from search.ledger import description, hold, optuna_study
from search.ledger.again import STATES, checked
from search.ledger.journal import Journal
from search.ledger.ledger import Ledger
from search.store import results
from search.store.mirror import locate
from search.store.query import Query
from search.store.status import status
from search.study import Study
from tests.search.toys import FINGERPRINT, only_line, settle, stored, toy_outcome, toy_spec
from trainables.errors import InvalidRequest
from trainables.outcome import State
from trainables.scenario import Places

CRASHED = (State.CRASHED,)
ENDS = (State.COMPLETE, State.CRASHED, State.OOM, State.CRASHED)


def opened(root: Path, retry: tuple[State, ...] = (), **values: Any) -> Ledger:
    return Ledger(toy_spec(**{"trials": 4, **values}), root, FINGERPRINT, retry)


def ended(root: Path, *ends: State, **values: Any) -> None:
    """A toy study whose trials ended so."""
    with opened(root, trials=len(ends), **values) as ledger:
        for state in ends:
            ticket = ledger.ask()
            assert ticket is not None
            ledger.settle(ticket, toy_outcome(ticket, state))


def states(root: Path) -> list[str]:
    return [row["state"] for row in stored(root)]


def optuna_trials(root: Path) -> list[FrozenTrial]:
    path = results.study_folder(root, "toy") / "journal.log"
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name=None, storage=storage).trials


def test_only_what_may_have_another_end_can_be_run_again() -> None:
    assert checked(["crashed", "oom", "crashed"]) == {State.CRASHED, State.OOM}
    assert set(STATES) == set(State) - {State.COMPLETE}
    for name in ("complete", "crashd", ""):
        with pytest.raises(InvalidRequest) as caught:
            checked([name])
        said = only_line(str(caught.value))
        assert said.startswith(f"unknown state to retry {name!r}")
        assert all(state in said for state in STATES)


def test_they_are_the_same_trials_in_another_attempt(tmp_path: Path) -> None:
    ended(tmp_path, *ENDS)
    before = {row["number"]: row for row in stored(tmp_path)}
    with opened(tmp_path, CRASHED) as ledger:
        assert ledger.notes == ["run again: 2 crashed"]
        assert (ledger.settled, ledger.finished) == (2, False)
        assert [row["number"] for row in ledger.rows] == [0, 2]
        tickets = settle(ledger)
        assert ledger.finished
    assert [(ticket.number, ticket.attempt) for ticket in tickets] == [(1, 2), (3, 2)]
    for ticket in tickets:
        row = before[ticket.number]
        assert ticket.hyperparameters == json.loads(row["params_json"])
        assert ticket.seed == row["seed"]
    assert states(tmp_path) == ["complete", "complete", "oom", "complete"]
    assert [row["attempt"] for row in stored(tmp_path)] == [1, 2, 1, 2]
    assert [row for row in stored(tmp_path) if row["number"] in (0, 2)] == [before[0], before[2]]


def test_the_sampler_is_told_the_new_end(tmp_path: Path) -> None:
    ended(tmp_path, *ENDS)
    before = optuna_trials(tmp_path)
    assert [trial.state for trial in before].count(TrialState.FAIL) == 3
    with opened(tmp_path, CRASHED) as ledger:
        settle(ledger)
    after = optuna_trials(tmp_path)
    assert [trial.params for trial in after] == [trial.params for trial in before]
    assert after[1].state == after[3].state == TrialState.COMPLETE
    assert after[1].values == [2.5, 89.0]
    for number in (0, 2):
        assert after[number] == before[number], "others stay as they are, times and all"


def test_several_states_and_those_that_the_sampler_took_for_complete(tmp_path: Path) -> None:
    """A diverged trial was told as complete, with a violated constraint, of which the first that is
    set counts; a pruned one has reports."""
    values: dict[str, Any] = {"objective": "gap", "pruner": "median", "mia_tolerance": 50.0}
    with opened(tmp_path, trials=2, **values) as ledger:
        for state, gaps in ((State.DIVERGED, ()), (State.PRUNED, (9.0, 8.0))):
            ticket = ledger.ask()
            assert ticket is not None
            ledger.settle(ticket, toy_outcome(ticket, state, gaps=gaps))
    assert optuna_trials(tmp_path)[0].constraints == {"mia": 100.0}
    again = (State.DIVERGED, State.PRUNED)
    with opened(tmp_path, again, trials=2, **values) as ledger:
        assert ledger.notes == ["run again: 1 diverged, 1 pruned"]
        while (ticket := ledger.ask()) is not None:
            ledger.report(ticket, toy_outcome(ticket, State.PRUNED, gaps=(1.0,)))
            ledger.settle(ticket, toy_outcome(ticket))
    first, second = optuna_trials(tmp_path)
    assert (first.values, first.constraints) == ([1.0], {"mia": 10.0 - 50.0})
    assert (second.values, second.intermediate_values) == ([2.0], {1: 1.0})


def test_one_that_fails_again_settles_again_and_may_be_run_once_more(tmp_path: Path) -> None:
    ended(tmp_path, *ENDS)
    for attempt in (2, 3):
        with opened(tmp_path, CRASHED) as ledger:
            while (ticket := ledger.ask()) is not None:
                assert ticket.attempt == attempt
                ledger.settle(ticket, toy_outcome(ticket, State.CRASHED))
            assert ledger.finished
    assert states(tmp_path) == [str(state) for state in ENDS]
    assert [row["attempt"] for row in stored(tmp_path)] == [1, 3, 1, 3]


def test_its_workers_may_die_as_often_as_those_of_other_trials(tmp_path: Path) -> None:
    with opened(tmp_path, trials=1, retries=2) as ledger:
        while (ticket := ledger.ask()) is not None:
            ledger.lost(ticket, "killed", 0.0)
    assert stored(tmp_path)[0]["attempt"] == 3
    with opened(tmp_path, CRASHED, trials=1, retries=2) as ledger:
        attempts = []
        while (ticket := ledger.ask()) is not None:
            attempts.append(ticket.attempt)
            ledger.lost(ticket, "killed", 0.0)
    assert attempts == [4, 5, 6]
    assert "in each of 3 attempts" in stored(tmp_path)[0]["reason"]


def test_where_none_has_ended_so_nothing_is_run_and_that_is_said(tmp_path: Path) -> None:
    ended(tmp_path, *ENDS)
    journal = results.study_folder(tmp_path, "toy") / "journal.log"
    before = journal.read_bytes()
    with opened(tmp_path, (State.TIMEOUT, State.STARVED)) as ledger:
        assert ledger.notes == ["no trial is starved or timeout: none is run again"]
        assert ledger.finished
        assert ledger.ask() is None
    assert journal.read_bytes().startswith(before)


def test_trials_beyond_the_target_are_left_alone(tmp_path: Path) -> None:
    ended(tmp_path, *ENDS)
    with opened(tmp_path, CRASHED, trials=2) as ledger:
        assert [ticket.number for ticket in settle(ledger)] == [1]
        assert ledger.finished
    assert states(tmp_path) == ["complete", "complete", "oom", "crashed"]


def test_what_had_not_settled_goes_on_beside_them(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        tickets = [ledger.ask() for _ in range(3)]
        assert tickets[2] is not None
        ledger.settle(tickets[2], toy_outcome(tickets[2], State.CRASHED))
    with opened(tmp_path, CRASHED) as ledger:
        again = settle(ledger)
    assert [(each.number, each.attempt) for each in again] == [(0, 1), (1, 1), (2, 2), (3, 1)]
    for old, new in zip(tickets, again, strict=False):
        assert old is not None
        assert (old.hyperparameters, old.seed) == (new.hyperparameters, new.seed)


def test_while_they_run_they_have_not_settled_for_others(tmp_path: Path) -> None:
    ended(tmp_path, *ENDS)
    with opened(tmp_path, CRASHED) as ledger:
        first = ledger.ask()
        found = status(tmp_path, "toy")
        assert (found.settled, found.running, found.target) == (2, 2, 4)
        assert found.states == {"complete": 1, "oom": 1}
        assert states(tmp_path) == [str(state) for state in ENDS], "the old rows are still there"
        assert first is not None
        ledger.settle(first, toy_outcome(first))
        assert status(tmp_path, "toy").states == {"complete": 2, "oom": 1}
        said = Query(tmp_path).run("SELECT number, state FROM trials ORDER BY number").to_pylist()
        assert [row["state"] for row in said] == ["complete", "complete", "oom", "crashed"]
    found = status(tmp_path, "toy")
    assert (found.settled, found.running) == (4, 0), "given up half-way, the old row counts"


class Killed(BaseException):
    """As kill -9: nothing of ours runs after it."""


def killed_at(patch: pytest.MonkeyPatch, write: int) -> Callable[[], int]:
    """Have the process die just before its n-th write; how many there were."""
    done = 0

    def counted(whole: Callable[..., Any]) -> Callable[..., Any]:
        def writes(*arguments: Any) -> Any:
            nonlocal done
            if done == write:
                raise Killed
            done += 1
            return whole(*arguments)

        return writes

    patch.setattr(results, "put", counted(results.put))
    patch.setattr(description, "put", counted(description.put))
    patch.setattr(hold, "write_whole", counted(hold.write_whole))
    patch.setattr(optuna_study, "write_whole", counted(optuna_study.write_whole))
    patch.setattr(Journal, "append_logs", counted(Journal.append_logs))
    return lambda: done


def test_a_kill_between_any_two_writes_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the next run is told to run them again or not."""
    write, settled_late = 0, False
    while True:
        root = tmp_path / str(write)
        ended(root, State.COMPLETE, State.CRASHED, State.CRASHED)
        ledger = opened(root, CRASHED, trials=3)
        with monkeypatch.context() as patch:
            writes = killed_at(patch, write)
            try:
                settle(ledger.__enter__())
            except Killed:
                ledger._hold.lock.release()  # the kernel does that
            else:
                ledger.__exit__()
                break
        kept = states(root)
        assert len(kept) == 3
        assert kept[0] == "complete"
        crashed = [number for number in (1, 2) if kept[number] == "crashed"]
        other = Path(shutil.copytree(root, tmp_path / f"{write}-retried"))
        for place, retry, left, ends in (
            (root, (), [], kept),
            (other, CRASHED, crashed, ["complete"] * 3),
        ):
            with opened(place, retry, trials=3) as ledger:
                assert [each.number for each in settle(ledger)] == left
                assert ledger.finished
            assert states(place) == ends
            told = [trial.state for trial in optuna_trials(place)]
            outcomes = {"complete": TrialState.COMPLETE, "crashed": TrialState.FAIL}
            assert told == [outcomes[state] for state in ends]
        settled_late = settled_late or kept.count("complete") == 2
        write += 1
    assert write == writes() > 10
    assert settled_late, "some kill came between the two trials"


def test_a_lost_part_of_one_that_runs_again_is_restored_from_the_journal(tmp_path: Path) -> None:
    ended(tmp_path, *ENDS)
    ledger = opened(tmp_path, CRASHED).__enter__()
    ledger._hold.lock.release()
    folder = results.study_folder(tmp_path, "toy")
    (folder / "trials" / results.part_name({"number": 1, "attempt": 1})).unlink()
    with opened(tmp_path) as ledger:
        assert ledger.finished
    assert states(tmp_path) == [str(state) for state in ENDS]


def test_results_under_a_uri_have_the_new_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    monkeypatch.setattr("search.store.mirror.SETTLING_SECONDS", 0.0)
    there = (tmp_path / "there").as_uri()
    ended(locate(there), *ENDS)
    with opened(locate(there), CRASHED) as ledger:
        settle(ledger)
        ledger.compact()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert states(locate(there)) == ["complete", "complete", "oom", "complete"]
    with opened(locate(there)) as ledger:
        assert ledger.finished


def test_a_study_refuses_an_unknown_state_before_it_touches_anything(tmp_path: Path) -> None:
    study = Study(toy_spec(), root=tmp_path / "results", places=Places(data=tmp_path))
    with pytest.raises(InvalidRequest, match="did you mean 'crashed'"):
        study.run(retry=["crashd"])
    assert not (tmp_path / "results").exists()
