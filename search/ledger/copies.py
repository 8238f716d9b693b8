"""A study's two copies, rows in Parquet and Optuna's journal, and how they are made to agree."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FixedTrial, TrialState

from search.ledger.optuna_study import ROW, OptunaStudy
from search.ledger.rows import from_text
from search.ledger.ticket import Ticket
from search.store import results
from search.store.mirror import move
from search.store.results import Row


@dataclass(frozen=True)
class Found:
    """What the two copies come to: settled rows by number; trials that were asked for and have not
    settled; numbers of those that are still to be drawn, among the `drawn` of the journal; how many
    rows lie in parts of their own; what was found damaged and what was done about it."""

    rows: dict[int, Row]
    tickets: list[Ticket]
    gaps: deque[int]
    drawn: int
    loose: int
    notes: list[str]


def reconcile(folder: Path, study: OptunaStudy) -> Found:
    """Make rows and journal agree, each from what the other has. Only for who holds the study.

    Raises OSError and InvalidRequest where a copy cannot be written.
    """
    notes: list[str] = []
    table, damaged = results.read_study(folder)
    for item in damaged:
        # Out of the folder of trials, which others' readers read whole.
        aside = folder / f"{item.path.name}.damaged-{int(time.time())}"
        move(item.path, aside)
        notes.append(f"{item}; set aside as {aside.name}")
    rows = {row["number"]: dict(row) for row in results.rows_of(table)}
    loose = len(list((folder / "trials").glob("part-*.parquet")))

    tickets = []
    trials = study.trials()
    for trial in trials:
        row = rows.get(trial.number)
        if row is not None and not trial.state.is_finished():
            study.tell(row)
        elif row is None and ROW in trial.user_attrs:
            row = from_text(trial.user_attrs[ROW])
            results.write_row(folder, row)
            rows[row["number"]] = row
            notes.append(f"trial {trial.number}: its row was restored from the journal")
            study.tell(row)
        elif row is None and trial.state.is_finished():
            notes.append(f"trial {trial.number}: its row is lost; it is run again")
            lost = FixedTrial(trial.params, trial.number)
            tickets.append(study.ticket(lost))
        elif row is None and trial.state == TrialState.RUNNING:
            tickets.append(study.ticket(study.ask_again(trial)))
    for number in range(len(trials), max(rows, default=-1) + 1):
        # A gap is a trial that had not settled; its place is kept and drawn again.
        study.add(rows.get(number))
    trials = study.trials()
    gaps = deque(trial.number for trial in trials if trial.state == TrialState.WAITING)
    return Found(rows, tickets, gaps, len(trials), loose, notes)
