"""Trials that crash alike end the run unsettled; others settle. The callback without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError
from ray.tune import TuneError
from ray.tune.experiment.trial import Trial
from rich.console import Console

from search.engine.allotment import Allotment
from search.engine.crashes import ERROR, crash_of, errors_kept
from search.engine.searcher import LedgerSearcher
from search.engine.settling import SettlingCallback
from search.ledger.ledger import Ledger
from search.ledger.suspicion import MOST_UNLIKE, alike
from search.ledger.ticket import Ticket
from search.show.progress import Progress
from tests.search.toys import only_line, open_ledger, stored, toy_outcome
from trainables.errors import DataError
from trainables.outcome import OUTCOMES, Outcome, State

WORKERS = 2
CAUSE = "ModuleNotFoundError: No module named 'theirs'"


class Run:
    """A run whose trials end as the test says, in place of Tune."""

    def __init__(self, ledger: Ledger, folder: Path, fuse: int = 1) -> None:
        self.ledger, self._folder = ledger, folder
        self.console = Console(record=True, width=200)
        self.progress = Progress(self.console)
        self.progress.begin(ledger.rows, ledger.target)
        allotment = Allotment(cpus=1, gpus=0.0, workers=WORKERS, fuse=fuse)
        self.searcher = LedgerSearcher(ledger, allotment)
        self.callback = SettlingCallback(self.searcher, ledger, self.progress)
        self._begun = 0

    def begin(self) -> SimpleNamespace | None:
        """The next trial of Tune's, which runs from here on; None if none is handed out."""
        trial_id = f"t{self._begun}"
        if not isinstance(self.searcher.suggest(trial_id), dict):
            return None
        self._begun += 1
        trial = SimpleNamespace(trial_id=trial_id, last_result={})
        self.callback.on_trial_start(0, [], trial)
        return trial

    def tickets(self, trial: SimpleNamespace) -> list[Ticket]:
        return self.searcher.tickets(trial.trial_id)

    def end(self, trial: SimpleNamespace, state: State, reason: str | None = None) -> None:
        """All that share this trial of Tune's end so."""
        flat = [_flat(toy_outcome(each, state, reason)) for each in self.tickets(trial)]
        trial.last_result = flat[0] if len(flat) == 1 else {OUTCOMES: flat}
        self.callback.on_trial_complete(0, [], trial)
        self.callback.on_step_end(0, [])

    def fail(self, trial: SimpleNamespace, error: Exception) -> None:
        """Its worker gives no result, but this."""
        vars(trial)[ERROR] = error
        self.callback.on_trial_error(0, [], trial)
        self.callback.on_step_end(0, [])

    def crash(self, count: int, reason: str = CAUSE) -> None:
        """So many trials in a row crash, one after the other."""
        for _ in range(count):
            trial = self.begin()
            assert trial is not None
            self.end(trial, State.CRASHED, reason)

    @property
    def over(self) -> bool:
        return self.callback.stop_all()

    @property
    def said(self) -> str:
        return self.console.export_text(clear=False)


def _flat(outcome: Outcome) -> dict[str, Any]:
    flat = asdict(outcome)
    return {**flat.pop("metrics"), **flat}


@contextmanager
def running(root: Path, fuse: int = 1, **values: Any) -> Iterator[Run]:
    with open_ledger(root, **{"trials": 20, **values}) as ledger:
        yield Run(ledger, root, fuse)


def states(root: Path) -> dict[int, str]:
    return {row["number"]: row["state"] for row in stored(root)}


def set_up(text: str) -> ActorDiedError:
    """What Ray tells of an exception in the constructor of an actor."""
    trace = (
        "ray::finetune_trial.__init__() (pid=7)\n"
        '  File "/x/trainable.py", line 76, in setup\n'
        "    self.bench = shared_workbench(*here)\n"
        "                 ^^^^^^^^^^^^^^^^^^^^^^^\n"
        f"{text}"
    )
    return ActorDiedError(RayTaskError("f", trace, DataError("x"), actor_id="ab"))


# The run ends


def test_three_that_crash_alike_end_the_run_and_have_not_settled(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.crash(2)
        assert not run.over
        run.crash(1)
        assert run.over
        run.callback.settle_rest()
        assert run.begin() is None
        said = only_line(str(run.callback.given_up))
        assert said.startswith(f"3 trials crashed before any had ended otherwise: {CAUSE}; ")
        assert "--give-up-after 0" in said
        assert run.ledger.settled == 0
        run.progress._refresh(always=True)
        assert "0/20 trials, 0 running, 3 failed" in run.said
    assert states(tmp_path) == {}
    with open_ledger(tmp_path, trials=20) as ledger:
        asked = [ledger.ask() for _ in range(3)]
        assert [each and each.number for each in asked] == [0, 1, 2]


def test_reasons_that_differ_in_numbers_and_names_of_files_are_alike() -> None:
    told = "cannot read /tmp/tmp{}/data: process {} at 0x7f{}"
    assert alike(told.format("ab3x", 7, "aa10")) == alike(told.format("q9", 1234, "bb"))
    assert alike("KeyError: 'weights'") != alike("KeyError: 'labels'")


@pytest.mark.parametrize(
    "state", [State.COMPLETE, State.DIVERGED, State.STARVED, State.OOM, State.TIMEOUT]
)
def test_a_trial_that_ended_otherwise_settles_those_that_were_held(
    tmp_path: Path, state: State
) -> None:
    with running(tmp_path) as run:
        run.crash(2)
        assert states(tmp_path) == {}
        trial = run.begin()
        assert trial is not None
        run.end(trial, state)
        assert states(tmp_path) == {0: "crashed", 1: "crashed", 2: str(state)}
        run.crash(5)
        assert not run.over
    assert list(states(tmp_path).values()).count("crashed") == 7


def test_those_that_run_meanwhile_may_still_speak_for_the_study(tmp_path: Path) -> None:
    """Crashes come fast, results take their time: nothing more begins until these are there."""
    with running(tmp_path) as run:
        slow = run.begin()
        assert slow is not None
        run.crash(3)
        assert not run.over
        assert run.begin() is None
        run.end(slow, State.COMPLETE)
        assert not run.over
        assert states(tmp_path) == {0: "complete", 1: "crashed", 2: "crashed", 3: "crashed"}
        assert run.begin() is not None


def test_once_those_have_crashed_too_the_run_is_over(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        slow = run.begin()
        assert slow is not None
        run.crash(3)
        run.end(slow, State.CRASHED, CAUSE)
        assert run.over
        assert str(run.callback.given_up).startswith("4 trials crashed")
    assert states(tmp_path) == {}


def test_fewer_than_three_settle_when_none_is_left(tmp_path: Path) -> None:
    with running(tmp_path, trials=2) as run:
        run.crash(2)
        assert run.begin() is None
        assert run.ledger.exhausted
        run.callback.settle_rest()
        assert run.callback.given_up is None
        assert run.ledger.finished
    assert states(tmp_path) == {0: "crashed", 1: "crashed"}
    assert "trial 1 crashed" in run.said
    assert run.said.count("trial 1 crashed") == 1, "it is told once, when it crashes"


def test_crashes_of_many_kinds_settle_after_a_while(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        for index in range(MOST_UNLIKE):
            assert states(tmp_path) == {}
            run.crash(1, f"KeyError: '{'x' * index}'")
        assert not run.over
        assert len(states(tmp_path)) == MOST_UNLIKE


def test_a_study_may_say_that_nothing_is_to_be_held(tmp_path: Path) -> None:
    with running(tmp_path, give_up_after=0) as run:
        run.crash(5)
        assert not run.over
        assert len(states(tmp_path)) == 5


def test_what_ended_well_in_an_earlier_run_says_nothing_of_this_one(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        trial = run.begin()
        assert trial is not None
        run.end(trial, State.COMPLETE)
    with running(tmp_path) as run:
        run.crash(3)
        assert run.over
    assert states(tmp_path) == {0: "complete"}


def test_trials_that_share_their_steps_count_as_one(tmp_path: Path) -> None:
    with running(tmp_path, fuse=4) as run:
        run.crash(2)
        assert not run.over
        assert len(run.ledger.suspicion) == 8
        run.crash(1)
        assert run.over


def test_what_is_held_when_the_run_is_interrupted_is_run_again(tmp_path: Path) -> None:
    with running(tmp_path, trials=2) as run:
        run.crash(1)
        last = run.begin()
        assert last is not None
        run.callback.interrupt()
        run.end(last, State.CRASHED, CAUSE)
        run.callback.settle_rest()
        assert "2 trials crashed and are run again" in run.said
    assert states(tmp_path) == {}


# Workers that give no result


def test_an_exception_in_a_worker_s_set_up_is_a_crash_with_its_last_line(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        for _ in range(3):
            trial = run.begin()
            assert trial is not None
            run.fail(trial, set_up("trainables.errors.DataError: images.npz is gone"))
        assert run.over, "three attempts in all: none of them was made again"
        assert "otherwise: DataError: images.npz is gone; " in str(run.callback.given_up)


def test_what_could_not_begin_is_tried_again_once_another_has_ended_well(tmp_path: Path) -> None:
    """As when one of several machines is broken."""
    with running(tmp_path) as run:
        broken, well = run.begin(), run.begin()
        assert broken is not None
        assert well is not None
        run.fail(broken, set_up("RuntimeError: no GPU"))
        run.end(well, State.COMPLETE)
        assert states(tmp_path) == {1: "complete"}
        again = run.begin()
        assert again is not None
        (ticket,) = run.tickets(again)
        assert (ticket.number, ticket.attempt) == (0, 2)


def test_a_worker_that_died_is_tried_again_whatever_died_before(tmp_path: Path) -> None:
    with running(tmp_path, retries=3) as run:
        for attempt in (1, 2, 3):
            trials = [run.begin() for _ in range(WORKERS)]
            for trial in trials:
                assert trial is not None
                assert {each.attempt for each in run.tickets(trial)} == {attempt}
                run.fail(trial, ActorDiedError())
        assert not run.over
        assert len(run.ledger.suspicion) == 0


def test_three_trials_whose_workers_died_in_each_attempt_end_the_run(tmp_path: Path) -> None:
    with running(tmp_path, retries=1) as run:
        while not run.over:
            trial = run.begin()
            assert trial is not None
            run.fail(trial, ActorDiedError())
        assert "its worker died in each of 2 attempts: ActorDiedError: " in str(
            run.callback.given_up
        )
    assert states(tmp_path) == {}


def test_a_worker_that_ray_stopped_for_its_memory_is_no_crash(tmp_path: Path) -> None:
    with running(tmp_path, retries=0) as run:
        for _ in range(4):
            trial = run.begin()
            assert trial is not None
            run.fail(trial, OutOfMemoryError("Task was killed due to the node running low"))
        assert not run.over
    assert set(states(tmp_path).values()) == {"oom"}


def test_the_reason_says_what_was_raised_or_who_died() -> None:
    def failed(error: Exception) -> Any:
        return crash_of(SimpleNamespace(**{ERROR: error}))

    raised = failed(set_up("ValueError: first line\n  second line"))
    assert (raised.reason, raised.raised) == ("ValueError: first line second line", True)
    inside = failed(RayTaskError("train", "trace", DataError("no\nimages")).as_instanceof_cause())
    assert (inside.reason, inside.raised) == ("DataError: no images", True)
    died = failed(ActorDiedError())
    assert died.reason.startswith("ActorDiedError: The actor died unexpectedly")
    assert not died.raised
    lost = failed(RayTaskError("train", "trace", ActorDiedError()).as_instanceof_cause())
    assert not lost.raised, "another process died, and this one only says so"


def test_what_tune_tells_as_a_traceback_was_raised_too() -> None:
    text = '  File "/x.py", line 1, in f\n    f()\ntheirs.Error: broken\n'
    trial = SimpleNamespace(**{ERROR: TuneError(text)})
    found = crash_of(trial)
    assert (found.reason, found.raised) == ("Error: broken", True)
    nothing = crash_of(trial)
    assert (nothing.reason, nothing.raised) == ("no message", False), "it is told once"


def test_trials_of_tune_keep_their_error_as_long_as_they_are_asked_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Exception] = []
    monkeypatch.setattr(Trial, "handle_error", lambda _trial, error: told.append(error))
    trial, error = Trial("toy", stub=True), OutOfMemoryError("none left")
    with errors_kept():
        trial.handle_error(error)
    assert told == [error], "Tune is told as ever"
    assert crash_of(trial).reason == "OutOfMemoryError: none left"
    trial.handle_error(error)
    assert crash_of(trial).reason == "no message"
