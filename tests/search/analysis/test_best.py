"""Best configurations: their order, their ties, and that only complete trials are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.analysis.best import by_gap, by_retain, complete, figures, pareto, remarks
from search.store import results, schema
from search.store.results import Row
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


# Studies without real figures


def zero_shot(
    number: int,
    forget: float = 1.0,
    retain: float = 90.0,
    gap: float = 5.0,
    kl: float | None = 0.5,
    seconds: float = 1.0,
    real: bool = True,
    state: str = "complete",
) -> Row:
    """A row steered by these synthetic figures; real ones, if it has any, point the other way."""
    row = trial(number, 100.0 - forget, 100.0 - retain, 100.0 - gap, seconds, state=state)
    if not real:
        row |= {name: None for name in row if name.startswith("m_")}
    steering = {"forget_accuracy": forget, "retain_accuracy": retain, "gap": gap, "retain_kl": kl}
    row |= {f"m_synthetic_{name}": value for name, value in steering.items()}
    return row | {"objective": "synthetic"}


@pytest.mark.parametrize("real", [True, False], ids=["with data", "without data"])
def test_where_synthetic_figures_steered_they_choose_and_real_ones_do_not(real: bool) -> None:
    rows = [
        zero_shot(0, forget=30.0, retain=95.0, gap=17.5, real=real),
        zero_shot(1, forget=0.0, retain=80.0, gap=10.0, real=real),
        zero_shot(2, forget=10.0, retain=90.0, gap=10.5, real=real),
        zero_shot(3, forget=10.0, retain=85.0, gap=12.5, real=real),
    ]
    table = as_table(rows)
    assert numbers(by_gap(table)) == [1, 2, 3, 0]
    assert numbers(by_retain(table, 100.0)) == [0, 2, 3, 1]
    assert numbers(by_retain(table, 10.0)) == [2, 3, 1]
    assert numbers(by_retain(table, 9.9)) == [1]
    assert numbers(pareto(table)) == [1, 2, 0]
    for select in SELECTIONS.values():
        assert select(table).column_names == table.column_names


@pytest.mark.parametrize("objective", ["pareto", "gap", None])
def test_where_real_figures_steered_synthetic_ones_choose_nothing(objective: str | None) -> None:
    rows = [
        zero_shot(0, forget=0.0, retain=99.0, gap=0.5) | {"objective": objective},
        zero_shot(1, forget=90.0, retain=9.0, gap=90.0) | {"objective": objective},
    ]
    for select in SELECTIONS.values():
        assert numbers(select(as_table(rows)))[0] == 1
    assert numbers(pareto(as_table(rows))) == [1]


@pytest.mark.parametrize("name", SELECTIONS)
def test_ties_go_to_the_smaller_divergence_before_time_and_number(name: str) -> None:
    rows = [
        zero_shot(0, kl=0.3, seconds=1.0),
        zero_shot(1, kl=0.2, seconds=9.0),
        zero_shot(2, kl=None, seconds=0.1),
        zero_shot(3, kl=0.2, seconds=8.0),
    ]
    expected = [3] if name == "pareto" else [3, 1, 0, 2]
    for order in (rows, rows[::-1]):
        assert numbers(SELECTIONS[name](as_table(order))) == expected


@pytest.mark.parametrize("name", ["by_gap", "by_retain"])
def test_a_lower_forget_accuracy_goes_before_a_smaller_divergence(name: str) -> None:
    rows = [zero_shot(0, forget=2.0, kl=0.0), zero_shot(1, forget=1.0, kl=9.0)]
    assert numbers(SELECTIONS[name](as_table(rows))) == [1, 0]


def test_trials_of_several_studies_are_compared_by_what_steered_each() -> None:
    rows = [
        trial(0, forget=2.0, retain=70.0, gap=3.0) | {"objective": "gap"},
        zero_shot(1, forget=1.0, retain=60.0, gap=2.0, real=False),
        trial(2, forget=9.0, retain=95.0, gap=1.0) | {"objective": None},
        zero_shot(3, forget=3.0, retain=65.0, gap=4.0),
    ]
    table = as_table(rows)
    assert numbers(by_gap(table)) == [2, 1, 0, 3]
    assert numbers(by_retain(table, 3.0)) == [0, 3, 1]
    assert numbers(pareto(table)) == [1, 0, 2]


@pytest.mark.parametrize("state", [State.STARVED, State.CRASHED, State.PRUNED])
@pytest.mark.parametrize("name", SELECTIONS)
def test_a_synthetic_trial_that_did_not_complete_is_never_chosen(name: str, state: State) -> None:
    rows = [zero_shot(0, 0.0, 100.0, 0.0, state=str(state)), zero_shot(1)]
    assert numbers(SELECTIONS[name](as_table(rows))) == [1]


def test_figures_are_those_that_steered() -> None:
    row = zero_shot(0, forget=1.0, retain=2.0, gap=3.0)
    assert figures(row) == (1.0, 2.0, 3.0)
    assert (figures(row).forget, figures(row).retain, figures(row).gap) == (1.0, 2.0, 3.0)
    for objective in ("pareto", "gap", None):
        assert figures(row | {"objective": objective}) == (99.0, 98.0, 97.0)
    del row["objective"]
    assert figures(row) == (99.0, 98.0, 97.0)


def write_earlier(root: Path, rows: list[Row], study: str = "toy") -> None:
    """A study's rows in one file, as a version wrote them that knew no synthetic figures."""
    table = as_table([row | {"study": study} for row in rows])
    unknown = [*schema.LABEL_FIELDS.names, "curve_gap"]
    unknown += [name for name in table.column_names if "synthetic" in name]
    folder = results.study_folder(root, study) / "trials"
    folder.mkdir(parents=True)
    pq.write_table(table.drop_columns(unknown), folder / "compact-0.parquet")


def test_a_table_of_an_earlier_version_is_chosen_from(tmp_path: Path) -> None:
    rows = [trial(0, 30.0, 95.0, 9.0), trial(1, 0.0, 80.0, 8.0), trial(2, 40.0, 70.0, 1.0)]
    write_earlier(tmp_path, [*rows, toy_row(3, state="oom")])
    table = results.scan(tmp_path, "toy")
    assert numbers(by_gap(table)) == [2, 1, 0]
    assert numbers(by_retain(table, 30.0)) == [0, 1]
    assert numbers(pareto(table)) == [1, 0]
    assert [figures(row) for row in pareto(table).to_pylist()] == [(0.0, 80.0, 8.0), (30, 95, 9)]


def test_an_earlier_study_stands_beside_a_synthetic_one(tmp_path: Path) -> None:
    write_earlier(tmp_path, [trial(0, 5.0, 90.0, 4.0), trial(1, 2.0, 80.0, 6.0)], "earlier")
    folder = results.study_folder(tmp_path, "later")
    for row in (zero_shot(2, 1.0, 70.0, 5.0, real=False), zero_shot(3, 9.0, 60.0, 7.0)):
        results.write_row(folder, row | {"study": "later"})
    table = results.scan(tmp_path)
    assert numbers(by_gap(table)) == [0, 2, 1, 3]
    assert numbers(pareto(table)) == [2, 1, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=12),
    st.integers(1, 14),
)
def test_the_first_few_are_the_first_of_all_ties_included(
    found: list[tuple[int, int, int]], top: int
) -> None:
    rows = [
        trial(n, forget=forget, retain=retain, gap=gap)
        for n, (forget, retain, gap) in enumerate(found)
    ]
    table = as_table(rows)
    assert numbers(by_gap(table, top)) == numbers(by_gap(table))[:top]
    assert numbers(by_retain(table, 2.0, top)) == numbers(by_retain(table, 2.0))[:top]


PROBED = {"gap_terms": "forget_accuracy,retain_accuracy,mia,probe"}


def test_the_best_is_chosen_by_the_gap_that_steered() -> None:
    """By the usual gap trial 0 is the best, by that with the probe trial 1."""
    figures_of = {0: (1.0, 9.0), 1: (2.0, 4.0)}
    for columns, best in (({}, 0), ({"gap_terms": "forget_accuracy,retain_accuracy,mia"}, 0),
                          (PROBED, 1)):  # fmt: skip
        rows = [
            toy_row(number, m_gap=gap, m_probe_gap=with_probe, **columns)
            for number, (gap, with_probe) in figures_of.items()
        ]
        (first,) = by_gap(as_table(rows), 1).to_pylist()
        assert first["number"] == best
        assert figures(first).gap == figures_of[best][1 if best else 0]


def test_remarks_say_where_gaps_disagree_and_where_the_control_is_better() -> None:
    table = as_table(
        [toy_row(0, m_gap=1.0, m_probe_gap=9.0), toy_row(1, m_gap=2.0, m_probe_gap=4.0)]
    )
    told, control = remarks(table, {"gap": 0.5, "probe_gap": 6.0})
    assert "trial 0 of toy by gap, trial 1 of toy by gap with probe" in told
    assert "By gap the control" in control
    assert "(0.5 points) than the best, trial 0 of toy (1.0)" in control
    agreeing = as_table([toy_row(0, m_gap=1.0, m_probe_gap=3.0), toy_row(1, m_gap=2.0)])
    assert remarks(agreeing, {"gap": 1.0, "probe_gap": 3.5}) == []
    assert remarks(agreeing, {}) == []


def test_synthetic_gaps_are_not_held_against_the_control() -> None:
    rows = [toy_row(0, objective="synthetic", m_synthetic_gap=3.0, m_gap=8.0)]
    assert remarks(as_table(rows), {"gap": 0.5}) == []
