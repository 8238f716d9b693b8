"""Trials that share a place: handed out together, settled one by one, with real Ray."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from search.definition.reading import validate
from search.definition.resolving import resolve
from search.definition.samplers import derive_seed
from search.engine.allotment import Allotment, alone
from search.engine.connection import start_ray
from search.engine.scheduling import run_trials
from search.ledger.ledger import Ledger
from search.ledger.ticket import Ticket
from search.store.results import Row
from tests.search.toys import NOWHERE, open_ledger
from trainables.errors import InvalidRequest


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.shutdown()
    start_ray()
    yield
    ray.shutdown()


def pretend(notes: Path, *, die_once: int | None = None, fails: int | None = None) -> Any:
    """A trainable of several trials that writes down their seeds; it kills its worker at its first
    meeting with the trial of seed `die_once`, and lets that of seed `fails` diverge."""

    class Pretend(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            seeds = [config["seed"] for config in self.config["_together"]]
            with (notes / "groups").open("a") as file:
                file.write(" ".join(map(str, seeds)) + "\n")
            if die_once in seeds and not (notes / "died").exists():
                (notes / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return {"outcomes": [outcome(seed) for seed in seeds], "done": True}

    def outcome(seed: int) -> dict[str, Any]:
        figures = dict.fromkeys(("forget_accuracy", "retain_accuracy", "mia"), 50.0)
        return {
            **({} if seed == fails else {**figures, "gap": float(seed % 97)}),
            **{"state": "diverged" if seed == fails else "complete", "method": "finetune"},
            **{"hyperparameters": {}, "seed": seed, "started": 1.0, "finished": 2.0},
        }

    return Pretend


class Watch:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.rows: list[Row] = []
        self.retries: list[int] = []

    def started(self, ticket: Ticket) -> None:
        self.begun.append(ticket.number)

    def ended(self, ticket: Ticket) -> None: ...

    def settled(self, row: Row) -> None:
        self.rows.append(row)

    def retried(self, ticket: Ticket, reason: str) -> None:
        self.retries.append(ticket.number)

    def held(self, ticket: Ticket, reason: str) -> None: ...

    def tick(self) -> None: ...

    def closing(self, running: int, why: str) -> None: ...

    def say(self, text: str) -> None: ...


def seed_of(ledger: Ledger, number: int) -> int:
    return derive_seed(ledger.spec.seed, "unlearning", number)


def groups(notes: Path) -> list[int]:
    return sorted(len(line.split()) for line in (notes / "groups").read_text().splitlines())


def test_as_many_as_fit_are_handed_out_together_and_each_settles(tmp_path: Path) -> None:
    watch = Watch()
    with open_ledger(tmp_path, trials=7) as ledger:
        run_trials(ledger, pretend(tmp_path), Allotment(1, 0.0, 1, fuse=3), watch)
        expected = {number: seed_of(ledger, number) for number in range(7)}
        assert {row["number"]: row["seed"] for row in ledger.rows} == expected
        assert all(row["m_gap"] == row["seed"] % 97 for row in ledger.rows)
    assert groups(tmp_path) == [1, 3, 3]
    assert sorted(watch.begun) == sorted(row["number"] for row in watch.rows) == list(range(7))


def test_a_worker_that_dies_has_all_its_trials_run_again(tmp_path: Path) -> None:
    watch = Watch()
    with open_ledger(tmp_path, trials=4) as ledger:
        kind = pretend(tmp_path, die_once=seed_of(ledger, 1))
        run_trials(ledger, kind, Allotment(1, 0.0, 1, fuse=2), watch)
        attempts = {row["number"]: row["attempt"] for row in ledger.rows}
    assert attempts == {0: 2, 1: 2, 2: 1, 3: 1}
    assert watch.retries == [0, 1]


def test_one_that_fails_leaves_the_others_of_its_place_alone(tmp_path: Path) -> None:
    with open_ledger(tmp_path, trials=3) as ledger:
        kind = pretend(tmp_path, fails=seed_of(ledger, 1))
        run_trials(ledger, kind, Allotment(1, 0.0, 1, fuse=3), Watch())
        states = [row["state"] for row in ledger.rows]
    assert states == ["complete", "diverged", "complete"]


def test_what_ran_out_of_memory_is_run_by_itself() -> None:
    assert alone(Allotment(1, 0.5, 2, fuse=8)).fuse == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"method": "jit"}, "jit cannot be fused .*possible: finetune"),
        ({"objective": "gap", "pruner": "asha"}, "no curves"),
        ({"curves": True}, "no curves"),
    ],
)
def test_what_cannot_be_fused_is_refused_in_one_line(values: dict[str, Any], told: str) -> None:
    spec = validate({"method": "finetune", "resources": {"fuse": 2}, **values})
    with pytest.raises(InvalidRequest, match=told):
        resolve(spec, NOWHERE)
