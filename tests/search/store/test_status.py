"""What is known of a study from its folder alone, whether somebody runs it or not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from search.store import results
from search.store.status import failed, status
from tests.search.toys import (
    only_line,
    open_ledger,
    run_study,
    settle,
    toy_row,
    write_study,
)
from trainables.errors import InvalidRequest

BEGAN = 1_700_000_000.0
"""Just before the toy rows began: row n starts 0.125 + n seconds later."""


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let it be this many seconds after `BEGAN`."""
    monkeypatch.setattr("search.store.status.time", SimpleNamespace(time=lambda: BEGAN + seconds))


def note_runner(folder: Path, since: float) -> FileLock:
    """A note that the study is run by process 7 of a host; holding the lock makes it true."""
    note = {"pid": 7, "host": "elsewhere", "since": since}
    (folder / "running.json").write_text(json.dumps(note))
    return FileLock(folder / "lock")


def test_trials_are_counted_by_state(tmp_path: Path) -> None:
    states = ["complete", "oom", "complete", "crashed", "diverged", "oom"]
    write_study(tmp_path, [toy_row(n, state=state) for n, state in enumerate(states)], trials=20)
    found = status(tmp_path, "toy")
    assert (found.name, found.target, found.settled) == ("toy", 20, 6)
    assert found.states == {"complete": 2, "oom": 2, "crashed": 1, "diverged": 1}
    assert failed(found.states) == 4
    assert failed({"complete": 3}) == failed({}) == failed({"pruned": 2}) == 0


def test_the_best_is_the_complete_trial_with_the_smallest_gap(tmp_path: Path) -> None:
    rows = [toy_row(0, m_gap=3.0), toy_row(1, m_gap=0.5), toy_row(2, state="oom", m_gap=0.0)]
    write_study(tmp_path, rows)
    best = status(tmp_path, "toy").best
    assert best is not None
    assert (best["number"], best["m_gap"]) == (1, 0.5)


def test_a_study_without_complete_trials_has_no_best(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0, state="crashed")])
    assert status(tmp_path, "toy").best is None
    write_study(tmp_path, [], name="empty")
    found = status(tmp_path, "empty")
    assert (found.settled, found.states, found.best) == (0, {}, None)


def test_a_study_that_nobody_runs_has_nothing_running_and_no_time_left(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    settle(ledger, 2)
    ledger.ask()
    ledger._hold.lock.release()  # as after a kill: a trial is left asked, and so is the note
    assert (results.study_folder(tmp_path, "toy") / "running.json").exists()
    found = status(tmp_path, "toy")
    assert (found.running, found.holder, found.seconds_left) == (0, None, None)
    assert (found.settled, found.target) == (2, 6)


HOLD = """
import json, os, sys
from pathlib import Path
from filelock import FileLock
folder = Path(sys.argv[1])
with FileLock(folder / "lock"):
    (folder / "running.json").write_text(json.dumps({"pid": os.getpid(), "host": "here"}))
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_study_that_another_process_runs_says_which_and_how_many_trials(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path).__enter__()
    settle(ledger, 2)
    for _ in range(3):
        ledger.ask()
    ledger._hold.lock.release()
    command = [sys.executable, "-c", HOLD, str(ledger.folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        found = status(tmp_path, "toy")
        holder.communicate()
    assert (found.settled, found.running) == (2, 3)
    assert found.holder == f"process {holder.pid} on here"
    assert found.seconds_left is None  # since when it runs is not known
    assert status(tmp_path, "toy").holder is None


def test_asking_for_the_status_leaves_the_runner_its_study(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 1)
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        for _ in range(3):
            assert status(tmp_path, "toy").holder is not None
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
        settle(ledger)
        assert ledger.finished


def test_time_left_is_told_from_the_trials_since_the_run_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = [toy_row(n, started=results.timestamp(BEGAN - 1000)) for n in range(4)]
    folder = write_study(tmp_path, [*earlier, *(toy_row(n) for n in range(4, 8))], trials=20)
    at(monkeypatch, seconds=24.125)
    with note_runner(folder, since=BEGAN):
        left = status(tmp_path, "toy").seconds_left
    # Four trials in the 20 seconds since the first of them (number 4) started; twelve are left.
    assert left == pytest.approx(60.0)


def test_no_time_is_left_when_the_target_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_study(tmp_path, [toy_row(n) for n in range(4)], trials=3)
    at(monkeypatch, seconds=60)
    with note_runner(folder, since=BEGAN):
        assert status(tmp_path, "toy").seconds_left == 0


def test_time_left_is_unknown_until_a_trial_settles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_study(tmp_path, [toy_row(n) for n in range(4)], trials=20)
    at(monkeypatch, seconds=200)
    with note_runner(folder, since=BEGAN + 100):
        found = status(tmp_path, "toy")
    assert (found.holder, found.seconds_left) == ("process 7 on elsewhere", None)


@pytest.mark.parametrize("note", [None, b"", b"{", b"[]"])
def test_a_runner_without_a_readable_note_still_runs_the_study(
    tmp_path: Path, note: bytes | None
) -> None:
    folder = write_study(tmp_path, [toy_row(0)])
    if note is not None:
        (folder / "running.json").write_bytes(note)
    with FileLock(folder / "lock"):
        found = status(tmp_path, "toy")
        assert found.settled == 1
        assert found.seconds_left is None
        assert found.holder is not None


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = write_study(tmp_path, [toy_row(0), toy_row(1)])
    path = folder / "trials" / results.part_name(toy_row(1))
    path.write_bytes(path.read_bytes()[:50])
    found = status(tmp_path, "toy")
    assert found.settled == 1
    assert [item.path for item in found.damaged] == [path]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_without_a_readable_description_the_target_is_unknown(
    tmp_path: Path, content: bytes | None
) -> None:
    folder = write_study(tmp_path, [toy_row(0)])
    (folder / "study.json").unlink()
    if content is not None:
        (folder / "study.json").write_bytes(content)
    found = status(tmp_path, "toy")
    assert (found.target, found.settled) == (None, 1)


def test_the_target_of_a_grid_is_the_number_of_its_points(tmp_path: Path) -> None:
    space = {"learning_rate": [1e-3, 1e-4], "epochs": 1, "batch_size": 64, "batch_norm": "train"}
    run_study(tmp_path, sampler="grid", trials=100, space=space)
    found = status(tmp_path, "toy")
    assert (found.settled, found.target) == (2, 2)


def test_an_unknown_study_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0)])
    with pytest.raises(InvalidRequest) as caught:
        status(tmp_path, "toi")
    assert "did you mean 'toy'?" in only_line(str(caught.value))
