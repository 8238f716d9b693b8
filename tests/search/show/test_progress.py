"""What a run shows: sparse plain lines off a terminal, failures with their reasons, the best."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from search.ledger.ticket import Ticket
from search.show.progress import QUIET_EVERY, Progress, duration
from tests.search.toys import only_line, toy_row


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that progress looks at."""
    found = Clock()
    monkeypatch.setattr("search.show.progress.time", SimpleNamespace(monotonic=found.monotonic))
    return found


@pytest.fixture
def file() -> io.StringIO:
    """What was shown."""
    return io.StringIO()


@pytest.fixture
def progress(file: io.StringIO, clock: Clock) -> Progress:
    """Progress on something that is not a terminal."""
    return Progress(Console(file=file, force_terminal=False, width=40))


def ticket(number: int) -> Ticket:
    return Ticket(number, 1, {}, 0)


def lines(file: io.StringIO) -> list[str]:
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (7, "7 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (60, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_a_duration_is_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(seconds=st.floats(0, 1e6))
def test_a_duration_can_be_read_back_to_its_last_unit(seconds: float) -> None:
    words = duration(seconds).split()
    units = {"s": 1, "min": 60, "h": 3600}
    numbers = [int(word) for word in words[::2]]
    back = sum(n * units[unit] for n, unit in zip(numbers, words[1::2], strict=True))
    assert abs(back - seconds) <= (60 if "h" in words else 0.5)
    assert all(number < 60 for number in numbers[1:])


def test_trials_are_counted_against_the_target(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    with progress:
        progress.begin([toy_row(0), toy_row(1, state="oom")], target=20)
        assert only_line(file.getvalue()).startswith("2/20 trials, 0 running, 1 failed, best gap 1")
        for number in (2, 3):
            progress.started(ticket(number))
        clock.now += QUIET_EVERY
        progress.settled(toy_row(2))
        assert lines(file)[1].startswith("3/20 trials, 1 running, 1 failed")


def test_pruned_trials_are_counted_apart_from_failed_ones(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    with progress:
        progress.begin([toy_row(0), toy_row(1, state="pruned"), toy_row(2, state="oom")], target=20)
        assert "0 running, 1 pruned, 1 failed, best" in only_line(file.getvalue())
        clock.now += QUIET_EVERY
        progress.settled(toy_row(3, state="pruned"))
        assert "0 running, 2 pruned, 1 failed, best" in lines(file)[1]


def test_the_best_is_shown_with_its_figures_and_stays_until_it_is_beaten(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    progress.begin([], target=9)
    assert "best" not in file.getvalue()
    for row in (toy_row(3), toy_row(5), toy_row(1), toy_row(0, state="oom", m_gap=0.0)):
        clock.now += QUIET_EVERY
        progress.settled(row)
    shown = [line for line in lines(file) if "trials" in line]
    third = "best gap 4.0 (forget 7.5 %, retain 87.0 %, trial 3)"
    first = "best gap 2.0 (forget 2.5 %, retain 89.0 %, trial 1)"
    assert [third in line for line in shown] == [False, True, True, False, False]
    assert [first in line for line in shown] == [False, False, False, True, True]


def test_plain_output_is_sparse(progress: Progress, file: io.StringIO, clock: Clock) -> None:
    with progress:
        progress.begin([], target=1000)
        for number in range(1000):
            progress.started(ticket(number))
            progress.settled(toy_row(number))
            progress.tick()
            clock.now += QUIET_EVERY / 100
    assert 10 <= len(lines(file)) <= 12
    assert any(" left" in line for line in lines(file))


def test_nothing_is_repeated_while_nothing_changes(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    progress.begin([toy_row(0)], target=3)
    for _ in range(5):
        clock.now += QUIET_EVERY
        progress.tick()
    assert len(lines(file)) == 1


def test_a_failure_is_shown_at_once_with_its_reason(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    progress.begin([], target=3)
    reason = "ValueError: shape [3, 4] is [bold]wrong[/bold] " + "and so on " * 20
    progress.settled(toy_row(7, state="crashed", reason=reason))
    # One line, however narrow the screen, and no markup is taken out of it.
    assert lines(file)[1] == f"trial 7 crashed: {reason}"
    progress.settled(toy_row(8))
    assert len(lines(file)) == 2


def test_a_trial_that_lost_its_worker_is_said_to_be_run_again(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    progress.begin([], target=3)
    progress.started(ticket(4))
    progress.retried(ticket(4), "killed " * 100)
    line = lines(file)[1]
    assert line.startswith("trial 4 lost its worker and is run again (killed ")
    assert len(line) < 160
    clock.now += QUIET_EVERY
    progress.tick()
    assert len(lines(file)) == 2  # still none done and none running, as at the beginning


def test_time_left_is_told_from_the_trials_of_this_run(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    progress.begin([toy_row(0), toy_row(1)], target=10)
    clock.now += 500  # Ray starts
    progress.started(ticket(2))
    clock.now += 30
    progress.settled(toy_row(2))
    assert lines(file)[-1].endswith(", 3 min 30 s left")  # seven more, 30 seconds each
    assert " left" not in lines(file)[0]


def test_time_left_is_not_told_when_none_is(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    progress.begin([], target=1)
    progress.started(ticket(0))
    clock.now += QUIET_EVERY
    progress.settled(toy_row(0))
    assert "1/1 trials" in lines(file)[-1]
    assert " left" not in lines(file)[-1]


@pytest.mark.parametrize("note", ["", "/store/x: the checksum differs"])
def test_each_prepared_part_is_a_line(progress: Progress, file: io.StringIO, note: str) -> None:
    found: dict[str, Any] = {"origin": "built", "seconds": 61.0, "note": note}
    progress.prepared("gan 3", found, 4, 13)
    assert lines(file)[-1] == "prepared 4/13: gan 3 (built in 1 min 01 s)"
    assert lines(file)[:-1] == ([f"damaged: {note}"] if note else [])


def test_what_goes_on_is_shown_at_once(progress: Progress, file: io.StringIO) -> None:
    progress.doing("starting Ray")
    progress.doing("preparing")
    progress.doing("preparing")
    assert lines(file) == ["starting Ray", "preparing"]


def test_on_a_terminal_one_line_is_kept_current_and_failures_stay() -> None:
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=True, width=200)) as progress:
        progress.begin([toy_row(0)], target=30)
        for number in range(1, 20):
            progress.started(ticket(number))
            progress.settled(toy_row(number))
        progress.settled(toy_row(20, state="oom"))
    shown = file.getvalue()
    assert "trial 20 oom: made to end as oom" in shown
    assert "21/30 trials, 0 running, 1 failed" in shown
    assert "\x1b[?25h" in shown  # the cursor is back


def test_what_warm_workers_saved_is_said_if_it_is_much(
    progress: Progress, file: io.StringIO
) -> None:
    progress.begin([], target=3)
    progress.settled({**toy_row(0), "saved_seconds": -0.5})
    progress.settled({**toy_row(1), "saved_seconds": 1.2})
    progress.settled({**toy_row(2), "saved_seconds": None})  # of an earlier version
    progress.end()
    assert not any("saved" in line for line in lines(file))
    progress.settled({**toy_row(3), "saved_seconds": 70.0})
    progress.end()
    assert lines(file)[-1] == (
        "workers that stayed warm saved 1 min 11 s of setting up and of drawing samples"
    )


def test_a_trial_that_ended_runs_no_more_even_before_it_is_settled(
    progress: Progress, file: io.StringIO, clock: Clock
) -> None:
    with progress:
        progress.begin([], target=20)
        for number in (0, 1):
            progress.started(ticket(number))
        progress.ended(ticket(0))
        clock.now += QUIET_EVERY
        progress.started(ticket(2))
        assert "2 running" in lines(file)[-1]


def test_news_are_said_as_time_goes_by(progress: Progress, file: io.StringIO, clock: Clock) -> None:
    news = [["10.0.0.2 is receiving dataset-ab.npz"], [], ["a [bold] line " * 9, "another"]]
    progress.listen(lambda: news.pop(0))
    progress.hear()
    assert lines(file) == ["10.0.0.2 is receiving dataset-ab.npz"], "before trials are counted"
    progress.begin([], target=3)
    progress.tick()
    progress.tick()
    assert lines(file)[1:] == ["0/3 trials, 0 running", "a [bold] line " * 9, "another"]
