"""Hand-made specifications, outcomes and rows, so that studies need no trial to be run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from search.definition.reading import validate
from search.definition.resolving import resolve
from search.definition.spec import StudySpec
from search.ledger.ledger import Ledger
from search.ledger.ticket import Ticket
from search.store import results
from search.store.results import Row
from trainables.outcome import Outcome, State
from trainables.scenario import Places

NOWHERE = Places(data=Path("/nonexistent/data"), artifacts=Path("/nonexistent/artifacts"))
REPOSITORY = Path(__file__).parents[2]
FINGERPRINT = "0123456789abcdef"


def toy_spec(**values: Any) -> StudySpec:
    """A resolved specification: six trials of fine-tuning, drawn at random, or as told."""
    given = {"name": "toy", "method": "finetune", "trials": 6, "sampler": "random", **values}
    return resolve(validate(given), NOWHERE)


def open_ledger(root: Path, **values: Any) -> Ledger:
    """The ledger of the toy study, not yet entered."""
    return Ledger(toy_spec(**values), root, FINGERPRINT)


def toy_metrics(number: int) -> dict[str, float]:
    """Metrics that follow from a trial's number; the gap is smallest for trial 0."""
    figures = {"forget_accuracy": 2.5 * number, "retain_accuracy": 90.0 - number}
    figures |= {"mia": 10.0 + number, "gap": 1.0 + number}
    return figures | {f"test_{name}": value + 0.5 for name, value in figures.items()}


def toy_outcome(
    ticket: Ticket,
    state: State = State.COMPLETE,
    reason: str | None = None,
    gaps: Sequence[float] = (),
    **metrics: float,
) -> Outcome:
    """How the trial of a ticket ended; `metrics` replace those of `toy_metrics`, `gaps` makes a
    curve."""
    complete = state is State.COMPLETE
    return Outcome(
        state=state,
        method="mugan" if "temperature" in ticket.hyperparameters else "finetune",
        hyperparameters=ticket.hyperparameters,
        seed=ticket.seed,
        started=1_700_000_000.125 + ticket.number,
        finished=1_700_000_001.875 + ticket.number,
        metrics={**toy_metrics(ticket.number), **metrics} if complete else {},
        reason=reason if complete or reason else f"made to end as {state}",
        unlearn_seconds=0.5 if complete else None,
        evaluate_seconds=0.25 if complete else None,
        prepare_seconds=3.0,
        host="toy-host",
        curve=toy_curve(gaps),
    )


def toy_curve(gaps: Sequence[float]) -> list[dict[str, float]]:
    """A curve with these gaps; the other figures follow from them."""
    return [
        {
            "seconds": 0.1 * phase,
            "forget_accuracy": 2 * value,
            "retain_accuracy": 100 - value,
            "mia": 10 + value,
            "gap": value,
        }
        for phase, value in enumerate(gaps, start=1)
    ]


def settle(ledger: Ledger, count: int | None = None) -> list[Ticket]:
    """Ask and settle as complete, up to `count` trials; the tickets that were handed out."""
    tickets: list[Ticket] = []
    while (count is None or len(tickets) < count) and (ticket := ledger.ask()) is not None:
        ledger.settle(ticket, toy_outcome(ticket))
        tickets.append(ticket)
    return tickets


def run_study(root: Path, **values: Any) -> list[Row]:
    """Run a toy study to its end; its rows as they are in Parquet."""
    with open_ledger(root, **values) as ledger:
        settle(ledger)
    return stored(root, ledger.name)


def stored(root: Path, name: str = "toy") -> list[Row]:
    """A study's rows as they are in Parquet."""
    return list(results.rows_of(results.scan(root, name)))


def measured(row: Row) -> Row:
    """A row without its nulls."""
    return {name: value for name, value in row.items() if value is not None}


def toy_row(
    number: int,
    hyperparameters: dict[str, Any] | None = None,
    *,
    state: str = "complete",
    attempt: int = 1,
    **columns: Any,
) -> Row:
    """A row as the ledger makes it; `columns` replace single ones."""
    values = {"learning_rate": 1e-4, "samples_per_class": 500} | (hyperparameters or {})
    complete = state == "complete"
    row: Row = {
        "study": "toy",
        "number": number,
        "attempt": attempt,
        "state": state,
        "reason": None if complete else f"made to end as {state}",
        "method": "mugan",
        "dataset": "digits",
        "model": "allcnn",
        "forget": "3",
        "base_seed": 0,
        "seed": 1000 + number,
        "sampler": "random",
        "started": results.timestamp(1_700_000_000.125 + number),
        "finished": results.timestamp(1_700_000_001.875 + number),
        "unlearn_seconds": 0.5,
        "evaluate_seconds": 0.25,
        "prepare_seconds": 3.0,
        "device": "cpu",
        "peak_memory_mb": None,
        "host": "toy-host",
        "params_json": json.dumps(values, sort_keys=True),
        "version": "0.1.0",
        "c_mia": None,
        **{f"p_{name}": value for name, value in values.items()},
    }
    if complete:
        row |= {f"m_{name}": value for name, value in toy_metrics(number).items()}
    return row | columns


def write_study(root: Path, rows: list[Row], name: str = "toy", **values: Any) -> Path:
    """A study's folder with these rows and a study.json, as if they had been run."""
    folder = results.study_folder(root, name)
    for row in rows:
        results.write_row(folder, row | {"study": name})
    spec = toy_spec(**{"name": name, "method": "mugan", **values}).model_dump(mode="json")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(
        json.dumps({"schema": 1, "spec": spec, "target": spec["trials"]})
    )
    return folder


def as_table(rows: list[Row]) -> pa.Table:
    """Rows as one table, in the order given, without a file."""
    tables = [pa.Table.from_pylist([row], schema=results.schema_of(row)) for row in rows]
    empty = pa.schema([*results.CORE, *results.LAST_FIELDS])
    return pa.concat_tables([empty.empty_table(), *tables], promote_options="permissive")


def python(
    code: str, *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that can import these toys."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


HOLD = """
import sys
from pathlib import Path
from tests.search.toys import open_ledger
with open_ledger(Path(sys.argv[1])) as ledger:
    for _ in range(int(sys.argv[2])):
        ledger.ask()
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that holds the toy study, with trials handed out; a context manager."""

    def __init__(self, root: Path, running: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(root), str(running)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Holder:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def only_line(text: str) -> str:
    """The text, which must be a single line."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


def hostile(folder: Path, names: Iterable[str]) -> Path:
    """A folder with files of these names; one that is imported notes that in `imported`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noted = str(folder / "imported")
        path.write_text(f"open({noted!r}, 'a').write({name!r})\nraise ImportError({name!r})\n")
    return folder
