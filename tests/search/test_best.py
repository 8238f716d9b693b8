"""Best configurations: their order, their ties, and that only complete trials are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search import results
from search.analysis.best import by_gap, by_retain, complete, pareto
from search.results import Row
from tests.search.toys import as_table, toy_row
from trainables.outcome import State

SELECTIONS = {
    "by_gap": by_gap,
    "by_retain": lambda table: by_retain(table, 100.0),
    "pareto": pareto,
}


def trial(
    number: int,
    forget: float = 1.0,
    retain: float = 90.0,
    gap: float = 5.0,
    seconds: float | None = 1.0,
    study: str = "toy",
    state: str = "complete",
) -> Row:
    """A row with these figures; test figures point the other way."""
    row = toy_row(number, study=study, state=state, unlearn_seconds=seconds)
    figures = {"forget_accuracy": forget, "retain_accuracy": retain, "gap": gap, "mia": 3.0}
    return row | {
        **{f"m_{name}": value for name, value in figures.items()},
        **{f"m_test_{name}": 100.0 - value for name, value in figures.items()},
    }


def numbers(table: pa.Table) -> list[int]:
    found: list[int] = table["number"].to_pylist()
    return found


def test_the_smallest_gap_comes_first() -> None:
    table = as_table([trial(0, gap=3.0), trial(1, gap=0.5), trial(2, gap=10.0)])
    assert numbers(by_gap(table)) == [1, 0, 2]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"forget": 1.0}, {"forget": 2.0}),
        ({"seconds": 1.0}, {"seconds": 2.0}),
        ({"study": "a"}, {"study": "b"}),
        ({"forget": 1.0, "seconds": 9.0}, {"forget": 2.0, "seconds": 1.0}),
        ({"seconds": 1.0, "study": "b"}, {"seconds": 2.0, "study": "a"}),
        ({"seconds": 1.0}, {"seconds": None}),
    ],
)
@pytest.mark.parametrize("name", ["by_gap", "by_retain"])
def test_ties_go_to_forget_accuracy_then_time_then_study(
    name: str, better: dict[str, Any], worse: dict[str, Any]
) -> None:
    for rows in (
        [trial(1, **better), trial(0, **worse)],
        [trial(0, **worse), trial(1, **better)],
    ):
        assert numbers(SELECTIONS[name](as_table(rows))) == [1, 0]


@pytest.mark.parametrize("name", ["by_gap", "by_retain"])
def test_trials_alike_in_everything_keep_the_order_of_their_numbers(name: str) -> None:
    rows = [trial(number) for number in (5, 11, 2)]
    assert numbers(SELECTIONS[name](as_table(rows))) == [2, 5, 11]


def test_the_highest_retain_accuracy_comes_first() -> None:
    table = as_table([trial(0, retain=80.0), trial(1, retain=95.0), trial(2, retain=90.0)])
    assert numbers(by_retain(table, 100.0)) == [1, 2, 0]


def test_a_limit_on_forget_accuracy_includes_the_limit_itself() -> None:
    table = as_table(
        [trial(0, forget=5.0), trial(1, forget=5.0001, retain=99.0), trial(2, forget=0.0)]
    )
    assert numbers(by_retain(table, 5.0)) == [2, 0]
    assert numbers(by_retain(table, 0.0)) == [2]
    assert numbers(by_retain(table, -1.0)) == []


def test_validation_figures_choose_and_test_figures_do_not() -> None:
    rows = [trial(0, forget=0.0, retain=99.0, gap=1.0), trial(1, forget=9.0, retain=9.0, gap=9.0)]
    for select in SELECTIONS.values():
        assert numbers(select(as_table(rows)))[0] == 0
    assert numbers(pareto(as_table(rows))) == [0]


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("state", [state for state in State if state is not State.COMPLETE])
def test_a_trial_that_did_not_complete_is_never_chosen(name: str, state: State) -> None:
    # Even one whose row has the best figures of all.
    rows = [trial(0, 0.0, 100.0, 0.0, state=str(state)), trial(1), toy_row(2, state=str(state))]
    assert numbers(SELECTIONS[name](as_table(rows))) == [1]
    assert numbers(complete(as_table(rows))) == [1]


@pytest.mark.parametrize("name", SELECTIONS)
def test_nothing_is_chosen_from_nothing(name: str, tmp_path: Path) -> None:
    empty = results.scan(tmp_path)
    assert SELECTIONS[name](empty).num_rows == 0
    failed = as_table([toy_row(0, state="crashed"), toy_row(1, state="oom")])
    assert SELECTIONS[name](failed).num_rows == 0


def test_a_choice_keeps_every_column() -> None:
    table = as_table([trial(0), trial(1, forget=0.5)])
    for select in SELECTIONS.values():
        assert select(table).column_names == table.column_names


def test_the_front_is_ordered_by_forget_accuracy() -> None:
    rows = [trial(0, 30.0, 95.0), trial(1, 0.0, 80.0), trial(2, 10.0, 90.0), trial(3, 10.0, 85.0)]
    assert numbers(pareto(as_table(rows))) == [1, 2, 0]


def test_of_trials_alike_in_both_the_fastest_stands_for_all() -> None:
    rows = [trial(0, seconds=3.0), trial(1, seconds=1.0), trial(2, seconds=1.0)]
    assert numbers(pareto(as_table(rows))) == [1]


def test_a_trial_that_retains_nothing_can_be_on_the_front() -> None:
    assert numbers(pareto(as_table([trial(0, 0.0, 0.0), trial(1, 5.0, 50.0)]))) == [0, 1]


def beats(one: Row, other: Row) -> bool:
    """Whether a trial is at least as good in both objectives and better in one."""
    no_worse = (
        one["m_forget_accuracy"] <= other["m_forget_accuracy"]
        and one["m_retain_accuracy"] >= other["m_retain_accuracy"]
    )
    alike = (one["m_forget_accuracy"], one["m_retain_accuracy"]) == (
        other["m_forget_accuracy"],
        other["m_retain_accuracy"],
    )
    return no_worse and not alike


PERCENT = st.sampled_from([0.0, 12.5, 50.0, 99.5, 100.0]) | st.floats(0, 100)
TRIALS = st.lists(st.tuples(PERCENT, PERCENT, st.sampled_from(["complete", "oom"])), max_size=12)


@settings(max_examples=150, deadline=None)
@given(figures=TRIALS)
def test_the_front_is_what_brute_force_finds(figures: list[tuple[float, float, str]]) -> None:
    rows = [trial(n, f, r, state=state) for n, (f, r, state) in enumerate(figures)]
    done = [row for row in rows if row["state"] == "complete"]
    unbeaten = [row for row in done if not any(beats(other, row) for other in done)]
    expected = {(row["m_forget_accuracy"], row["m_retain_accuracy"]) for row in unbeaten}
    front = pareto(as_table(rows)).to_pylist()
    found = [(row["m_forget_accuracy"], row["m_retain_accuracy"]) for row in front]
    assert found == sorted(expected)
    assert {row["number"] for row in front} <= {row["number"] for row in unbeaten}


@settings(max_examples=50, deadline=None)
@given(figures=TRIALS, limit=PERCENT)
def test_the_best_by_retain_accuracy_is_what_brute_force_finds(
    figures: list[tuple[float, float, str]], limit: float
) -> None:
    rows = [trial(n, f, r, state=state) for n, (f, r, state) in enumerate(figures)]
    allowed = [r for f, r, state in figures if state == "complete" and f <= limit]
    found = by_retain(as_table(rows), limit)
    assert found["m_retain_accuracy"].to_pylist() == sorted(allowed, reverse=True)
