"""The Tune wiring under faults, with real Ray and trials that only pretend to work."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray import tune
from ray.tune.experiment import Trial

from search.definition.reading import validate
from search.definition.resolving import resolve
from search.definition.spec import StudySpec
from search.engine import machines as machines_module
from search.engine import tune as tune_module
from search.engine.allotment import Allotment, allot
from search.engine.connection import start_ray
from search.engine.depot import Depot
from search.engine.machines import Fleet, MachineRefused, machines, versions
from search.engine.preparation import prepare
from search.engine.scheduling import run_trials
from search.engine.searcher import SLOT, LedgerSearcher
from search.ledger import ledger as ledger_module
from search.ledger.ledger import Ledger
from search.ledger.ticket import Ticket
from search.store import results
from search.store.results import Row
from trainables.errors import InvalidRequest
from trainables.scenario import Places, Scenario
from trainables.workbench import Workbench

METRICS = {"forget_accuracy": 0.0, "retain_accuracy": 90.0, "mia": 5.0, "gap": 1.0} | {
    "test_forget_accuracy": 0.0,
    "test_retain_accuracy": 90.0,
    "test_mia": 5.0,
    "test_gap": 1.0,
}
TWO_WORKERS = Allotment(cpus=1, gpus=0.0, workers=2)


def pretend(notes: Path, *, seconds: float = 0.0, die_at: dict[int, int] | None = None) -> Any:
    """A trainable that writes down (number, process) and kills its worker where it is told to.

    `die_at` maps a trial's number to how many of its attempts die.
    """

    class Pretend(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            number = self.config["_ticket"]
            with (notes / f"{number}").open("a") as file:
                file.write(f"{os.getpid()}\n")
            attempts = len((notes / f"{number}").read_text().split())
            if attempts <= (die_at or {}).get(number, 0):
                os.kill(os.getpid(), signal.SIGKILL)
            started = time.time()
            time.sleep(seconds)
            return {
                **METRICS,
                "state": "complete",
                "method": "mugan",
                "hyperparameters": {},
                "seed": self.config["seed"],
                "started": started,
                "finished": time.time(),
                "reason": None,
                "unlearn_seconds": seconds,
                "evaluate_seconds": 0.0,
                "prepare_seconds": 0.0,
                "device": "cpu",
                "peak_memory_mb": None,
                "host": "here",
                "done": True,
            }

    return Pretend


def pretend_in_phases(notes: Path, gaps: dict[int, list[float]]) -> Any:
    """A trainable that reports these gaps, phase by phase, for each trial number, and notes each
    phase and its process."""

    class Phases(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.curve: list[dict[str, float]] = []

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.curve = []
            return True

        def step(self) -> dict[str, Any]:
            number = self.config["_ticket"]
            with (notes / f"{number}").open("a") as file:
                file.write(f"{os.getpid()}\n")
            done = len(self.curve) == len(gaps[number])
            if not done:
                value = gaps[number][len(self.curve)]
                self.curve.append({**METRICS, "gap": value, "seconds": 1.0 + len(self.curve)})
            ended = {
                "state": "complete" if done else "pruned",
                "method": "mugan",
                "hyperparameters": {},
                "seed": self.config["seed"],
                "started": 1.0,
                "finished": 2.0,
                "unlearn_seconds": float(len(self.curve)),
                "curve": self.curve,
                "done": done,
            }
            return {**METRICS, **ended, "gap": gaps[number][-1]}

    return Phases


class Watch:
    """Remembers what it was told; calls `then` after each settled trial."""

    def __init__(self, then: Any = None) -> None:
        self.rows: list[Row] = []
        self.retries: list[int] = []
        self.held_back: list[int] = []
        self.closed: list[tuple[int, str]] = []
        self.said: list[str] = []
        self._then = then

    def started(self, ticket: Ticket) -> None: ...

    def ended(self, ticket: Ticket) -> None: ...

    def settled(self, row: Row) -> None:
        self.rows.append(row)
        if self._then is not None:
            self._then(row)

    def retried(self, ticket: Ticket, reason: str) -> None:
        self.retries.append(ticket.number)

    def held(self, ticket: Ticket, reason: str) -> None:
        self.held_back.append(ticket.number)

    def tick(self) -> None: ...

    def closing(self, running: int, why: str) -> None:
        self.closed.append((running, why))

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module", autouse=True)
def two_cpus() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=50)
    yield
    ray.shutdown()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def spec(places: Places, **values: Any) -> StudySpec:
    given = {"name": "s", "trials": 8, "sampler": "random", **values}
    return resolve(validate(given), places)


def attempts(notes: Path) -> dict[int, int]:
    return {int(path.name): len(path.read_text().split()) for path in notes.iterdir()}


def test_every_trial_settles_once_and_both_workers_work(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    watch = Watch()
    with Ledger(spec(places), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes, seconds=0.2), TWO_WORKERS, watch)
        assert ledger.finished
    assert sorted(row["number"] for row in watch.rows) == list(range(8))
    assert results.scan(tmp_path, "s")["number"].to_pylist() == list(range(8))
    assert attempts(notes) == dict.fromkeys(range(8), 1)
    processes = {pid for path in notes.iterdir() for pid in path.read_text().split()}
    assert len(processes) >= 2, "trials shorter than a worker's start must not pile up on one"


def test_tune_keeps_no_trials_that_are_over(
    tmp_path: Path, notes: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_module, "FORGET_EVERY", 3)
    kept = []

    def count(row: Row) -> None:
        gc.collect()
        trials = [each for each in gc.get_objects() if type(each) is Trial]
        kept.append(sum(trial.is_finished() for trial in trials))

    with Ledger(spec(places, trials=16, retries=0), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes, die_at={5: 9}), TWO_WORKERS, Watch(count))
        assert ledger.finished
    assert len(kept) == 16
    assert max(kept) <= 5


def test_where_there_is_room_for_more_no_more_run_at_once_than_was_asked(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    """The first trial goes on until a second worker is there, or for long enough to start one."""
    kind = pretend(notes)

    class Waits(kind):  # type: ignore[misc,valid-type]
        def setup(self, config: dict[str, Any]) -> None:
            (notes.parent / f"worker-{os.getpid()}").touch()

        def step(self) -> dict[str, Any]:
            limit = time.monotonic() + (8 if self.config["_ticket"] == 0 else 0)
            while time.monotonic() < limit and len(workers()) == 1:
                time.sleep(0.05)
            found: dict[str, Any] = super().step()
            return found

    def workers() -> list[Path]:
        return list(notes.parent.glob("worker-*"))

    bounded = spec(places, trials=3, concurrency=1)
    allotment = allot(bounded)
    assert (allotment.workers, allotment.bounded) == (1, True)
    with Ledger(bounded, tmp_path, "data") as ledger:
        run_trials(ledger, Waits, allotment, Watch())
    assert attempts(notes) == dict.fromkeys(range(3), 1)
    assert len(workers()) == 1


def test_a_worker_killed_in_the_middle_of_a_trial_costs_no_trial(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    watch = Watch()
    with Ledger(spec(places), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes, die_at={2: 1, 5: 2}), TWO_WORKERS, watch)
    table = results.scan(tmp_path, "s")
    assert table["number"].to_pylist() == list(range(8))
    assert set(table["state"].to_pylist()) == {"complete"}
    tries = dict(zip(table["number"].to_pylist(), table["attempt"].to_pylist(), strict=True))
    assert tries[2] >= 2
    assert tries[5] >= 3
    assert Counter(watch.retries)[5] >= 2


def test_a_worker_killed_between_trials_costs_no_trial(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    def kill_its_worker(row: Row) -> None:
        if row["number"] in (1, 4):
            pid = int((notes / str(row["number"])).read_text().split()[-1])
            os.kill(pid, signal.SIGKILL)

    watch = Watch(kill_its_worker)
    with Ledger(spec(places), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes, seconds=0.1), TWO_WORKERS, watch)
    table = results.scan(tmp_path, "s")
    assert table["number"].to_pylist() == list(range(8))
    assert set(table["state"].to_pylist()) == {"complete"}


def test_a_trial_that_always_kills_its_worker_is_recorded_as_crashed(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    with Ledger(spec(places, trials=4, retries=1), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes, die_at={1: 99}), TWO_WORKERS, Watch())
    rows = {row["number"]: row for row in results.scan(tmp_path, "s").to_pylist()}
    assert sorted(rows) == [0, 1, 2, 3]
    assert [rows[number]["state"] for number in (0, 2, 3)] == ["complete"] * 3
    assert rows[1]["state"] == "crashed"
    assert "died" in rows[1]["reason"]
    assert rows[1]["m_gap"] is None


@pytest.mark.parametrize("where", ["setup", "step"])
def test_a_cause_that_all_trials_share_ends_the_run_soon_and_mended_it_goes_on(
    tmp_path: Path,
    notes: Path,
    places: Places,
    where: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Also where nothing is left that runs, for which Tune would wait."""
    broken = tmp_path / "broken"
    broken.touch()
    kind = pretend(notes)

    def work(self: Any) -> dict[str, Any]:
        if broken.exists():
            crashed = {"state": "crashed", "reason": f"KeyError: {os.getpid()}", "metrics": {}}
            return {**kind.step(self), **crashed}
        found: dict[str, Any] = kind.step(self)
        return found

    def set_up(self: Any, config: dict[str, Any]) -> None:
        if where == "setup" and broken.exists():
            raise OSError(f"{os.getpid()}: the data is gone")

    shared = type("Shared", (kind,), {"setup": set_up, "step": work})
    watch, begun = Watch(), time.monotonic()
    with (
        Ledger(spec(places), tmp_path, "data") as ledger,
        pytest.raises(InvalidRequest, match=r"(KeyError|the data is gone).*have not settled"),
    ):
        run_trials(ledger, shared, TWO_WORKERS, watch)
    assert time.monotonic() - begun < 200
    assert watch.rows == []
    assert watch.retries == []
    assert 3 <= len(watch.held_back) <= 6
    assert capfd.readouterr() == ("", ""), "what Tune has to say is said by us"
    broken.unlink()
    with Ledger(spec(places), tmp_path, "data") as ledger:
        run_trials(ledger, shared, TWO_WORKERS, Watch())
        assert ledger.finished
    assert results.scan(tmp_path, "s")["state"].to_pylist() == ["complete"] * 8


def test_two_trials_that_crash_alike_settle_where_there_are_no_more(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    kind = pretend(notes)

    def crash(self: Any) -> dict[str, Any]:
        return {**kind.step(self), "state": "crashed", "reason": "KeyError: 'x'"}

    watch = Watch()
    with Ledger(spec(places, trials=2), tmp_path, "data") as ledger:
        run_trials(ledger, type("Crashes", (kind,), {"step": crash}), TWO_WORKERS, watch)
        assert ledger.finished
    assert sorted(watch.held_back) == [0, 1]
    assert results.scan(tmp_path, "s")["state"].to_pylist() == ["crashed"] * 2


def test_a_pruner_stops_trials_between_phases(tmp_path: Path, notes: Path, places: Places) -> None:
    """Successive halving on one worker, by hand: at phase 1 the first passes, and later ones if
    they are the best so far (of fewer than six, the best third is one)."""
    gaps = {0: [5.0, 5.0, 5.0, 4.0], 1: [9.0, 0.0], 2: [3.0, 3.0], 3: [4.0, 0.0], 4: [1.0, 1.0]}
    chosen = spec(places, trials=5, objective="gap", pruner="asha")
    with Ledger(chosen, tmp_path, "data") as ledger:
        one = Allotment(cpus=1, gpus=0.0, workers=1)
        run_trials(ledger, pretend_in_phases(notes, gaps), one, Watch())
        assert ledger.finished
    rows = results.scan(tmp_path, "s").to_pylist()
    ends = ["complete", "pruned", "complete", "pruned", "complete"]
    assert [row["state"] for row in rows] == ends
    assert rows[1]["reason"] == "stopped by asha after phase 1"
    assert [row["m_gap"] for row in rows] == [4.0, None, 3.0, None, 1.0]
    assert [row["curve_gap"] for row in rows] == [gaps[0], [9.0], gaps[2], [4.0], gaps[4]]
    assert rows[3]["unlearn_seconds"] == 1.0
    assert attempts(notes) == {0: 5, 1: 1, 2: 3, 3: 1, 4: 3}
    processes = {pid for path in notes.iterdir() for pid in path.read_text().split()}
    assert len(processes) == 1, "a worker goes on after a pruned trial"


def test_a_run_that_stops_between_two_phases_prunes_nothing(
    tmp_path: Path, notes: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps = {number: [1.0] * 50 for number in range(4)}
    chosen = spec(places, trials=4, objective="gap", pruner="median")
    reported = []

    def full(self: Ledger, ticket: Ticket, outcome: Any) -> bool:
        reported.append(ticket.number)
        if len(reported) == 5:
            raise InvalidRequest("the disk is full")
        return False

    with (
        monkeypatch.context() as patch,
        Ledger(chosen, tmp_path, "data") as ledger,
    ):
        patch.setattr(Ledger, "report", full)
        with pytest.raises(InvalidRequest, match="the disk is full"):
            run_trials(ledger, pretend_in_phases(notes, gaps), TWO_WORKERS, Watch())
    assert results.scan(tmp_path, "s").num_rows == 0
    with Ledger(chosen, tmp_path, "data") as ledger:
        run_trials(ledger, pretend_in_phases(notes, gaps), TWO_WORKERS, Watch())
    assert results.scan(tmp_path, "s")["state"].to_pylist() == ["complete"] * 4


def test_a_full_disk_stops_the_run_and_loses_nothing(
    tmp_path: Path, notes: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    whole = results.put

    def full_after_three(path: Path, content: bytes) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, content)
        written.append(path)

    monkeypatch.setattr(results, "put", full_after_three)
    with (
        Ledger(spec(places), tmp_path, "data") as ledger,
        pytest.raises(InvalidRequest, match="No space left on device"),
    ):
        run_trials(ledger, pretend(notes), TWO_WORKERS, Watch())
    assert results.scan(tmp_path, "s").num_rows == 3
    monkeypatch.undo()
    with Ledger(spec(places), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes), TWO_WORKERS, Watch())
    assert results.scan(tmp_path, "s")["number"].to_pylist() == list(range(8))


def interrupt_after(count: int, watch: list[Row]) -> Any:
    """Sends this process Ctrl-C once so many trials have settled, as a user would."""

    def then(row: Row) -> None:
        watch.append(row)
        if len(watch) == count:
            os.kill(os.getpid(), signal.SIGINT)

    return then


def test_ctrl_c_lets_running_trials_finish_and_begins_no_more(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    watch = Watch(interrupt_after(2, []))
    with Ledger(spec(places, trials=40), tmp_path, "data") as ledger:
        with pytest.raises(KeyboardInterrupt):
            run_trials(ledger, pretend(notes, seconds=0.3), TWO_WORKERS, watch)
        settled = results.scan(tmp_path, "s")["number"].to_pylist()
        assert 2 <= len(settled) <= 2 + TWO_WORKERS.workers
        ((running, why),) = watch.closed
        assert running <= TWO_WORKERS.workers
        assert "Ctrl-C again" in why
    with Ledger(spec(places, trials=6), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes), TWO_WORKERS, Watch())
    assert results.scan(tmp_path, "s")["number"].to_pylist() == list(range(6))


def test_ctrl_c_twice_waits_for_nothing(tmp_path: Path, notes: Path, places: Places) -> None:
    watch = Watch(interrupt_after(1, []))

    def again(running: int, why: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    watch.closing = again  # type: ignore[method-assign]
    seconds = {"first": 0.0}

    class Slow(pretend(notes)):  # type: ignore[misc]
        def step(self) -> dict[str, Any]:
            if self.config["_ticket"] > 1:
                time.sleep(120)
            return super().step()  # type: ignore[no-any-return]

    seconds["first"] = time.monotonic()
    with (
        Ledger(spec(places, trials=20), tmp_path, "data") as ledger,
        pytest.raises(KeyboardInterrupt),
    ):
        run_trials(ledger, Slow, TWO_WORKERS, watch)
    assert time.monotonic() - seconds["first"] < 100, "a trial of two minutes was not waited for"
    assert results.scan(tmp_path, "s").num_rows <= 2


def test_after_the_time_budget_no_trial_begins(tmp_path: Path, notes: Path, places: Places) -> None:
    watch = Watch()
    with Ledger(spec(places, trials=5_000), tmp_path, "data") as ledger:
        deadline = time.monotonic() + 3
        run_trials(ledger, pretend(notes, seconds=0.2), TWO_WORKERS, watch, deadline)
        assert not ledger.finished
    assert [why for _, why in watch.closed] == ["the time budget is over"]
    begun = results.scan(tmp_path, "s").to_pylist()
    # A trial whose worker was still starting did not begin, whatever began after it.
    target = max((row["number"] for row in begun), default=0) + 3
    with Ledger(spec(places, trials=target), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes), TWO_WORKERS, Watch())
    after = results.scan(tmp_path, "s").to_pylist()
    assert [row["number"] for row in after] == list(range(target))
    assert all(after[row["number"]] == row for row in begun), "what had settled is kept"


def test_a_driver_outside_its_cluster_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="forgetune submit"):
        not_connected(lambda: start_ray("ray://head:10001"))


def not_connected(call: Any) -> None:
    """As in a process that has not started Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "is_initialized", lambda: False)
        call()


def other_torch(machine: str) -> Any:
    return ray.put({**versions(), "torch": "0.4"})


def no_package(machine: str) -> Any:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'search'")

    return ray.remote(fail).remote()


def silence(machine: str) -> Any:
    return ray.remote(num_cpus=99)(versions).remote()


@pytest.mark.parametrize(
    ("answer", "patience", "said"),
    [
        (other_torch, 120.0, r"has other versions: torch 0\.4 \(here .*\)"),
        (no_package, 120.0, r"cannot run trials: No module named 'search' \(is forgetune .*\)"),
        (silence, 0.5, r"cannot run trials: no answer in 0\.5 s \(is forgetune .*\)"),
    ],
)
def test_a_machine_that_cannot_take_part_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, answer: Any, patience: float, said: str
) -> None:
    Fleet().check()
    monkeypatch.setattr(machines_module, "_ask", answer)
    monkeypatch.setattr(machines_module, "VERSIONS_SECONDS", patience)
    with pytest.raises(MachineRefused) as refusal:
        Fleet().check()
    (node,) = ray.nodes()
    assert re.fullmatch(
        f"the machine {node['NodeManagerAddress']} {said}; mend it or take it out of the cluster, "
        "and the same command goes on",
        str(refusal.value),
    )


def test_a_slot_that_waits_for_a_machine_keeps_no_other_from_its_next_trial(
    tmp_path: Path, places: Places
) -> None:
    with Ledger(spec(places), tmp_path, "data") as ledger:
        searcher = LedgerSearcher(ledger, TWO_WORKERS)
        assert [searcher.suggest(trial)[SLOT] for trial in ("a", "b")] == [0, 1]
        assert searcher.suggest("c") is None
        searcher.begin("b")
        assert searcher.suggest("c")[SLOT] == 1
        assert searcher.suggest("d") is None, "one runs and one waits"


def test_a_question_that_was_lost_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a machine dies, which Ray notices after some seconds."""
    ask = machines_module._ask
    questions: list[str] = []

    def dying(machine: str) -> Any:
        questions.append(machine)
        if len(questions) > 1:
            return ask(machine)
        return ray.remote(max_retries=0)(lambda: os._exit(1)).remote()

    monkeypatch.setattr(machines_module, "_ask", dying)
    fleet = Fleet()
    fleet.check()
    assert len(questions) == 2
    assert fleet.fit(1, 0.0) == 2


def test_what_a_machine_gives_waits_until_it_is_known() -> None:
    """Also if nobody has looked since it joined."""
    fleet = Fleet()
    (address,) = {node["NodeManagerAddress"] for node in machines()}
    assert fleet.fit(1, 0.0) == 0
    assert fleet.wait_for(address) == [address]
    assert fleet.fit(1, 0.0) == 2
    assert fleet.wait_for(address) == []
    assert fleet.wait_for("10.0.0.7") == [], "one that is gone is not waited for"


def test_one_with_other_versions_is_not_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    monkeypatch.setitem(fleet._mine, "torch", "0.4")
    (address,) = {node["NodeManagerAddress"] for node in machines()}
    for _ in range(2):
        with pytest.raises(MachineRefused, match="has other versions: torch"):
            fleet.wait_for(address)


@pytest.mark.parametrize(
    ("concurrency", "said"),
    [
        (None, ["the machine 10.0.0.7 joined", "2 trials run at once"]),
        (1, ["the machine 10.0.0.7 joined"]),
    ],
)
def test_slots_grow_unless_concurrency_is_bounded_and_never_shrink(
    tmp_path: Path,
    notes: Path,
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    concurrency: int | None,
    said: list[str],
) -> None:
    class Coming(Fleet):
        """One machine joins, and is gone again at the next look."""

        looks = 0

        def look(self) -> list[str]:
            self.looks += 1
            return ["10.0.0.7"] if self.looks == 1 else []

        def wait_for(self, address: str) -> list[str]:
            return []

        def fit(self, cpus: int, gpus: float) -> int:
            return 2 if self.looks == 1 else 0

    monkeypatch.setattr("search.engine.joining.LOOK_SECONDS", 0.0)
    one, fleet, watch = Allotment(cpus=1, gpus=0.0, workers=1), Coming(), Watch()
    with Ledger(spec(places, concurrency=concurrency), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes), one, watch, fleet=fleet)
        assert ledger.finished
    assert fleet.looks > 1
    assert watch.said == said


class Stranger(Fleet):
    """Hears of a machine only when it is asked for the one that gave a result."""

    def __init__(self, known: bool) -> None:
        super().__init__()
        self.known = known
        self.joined: set[str] = set()

    def look(self) -> list[str]:
        return []

    def wait_for(self, address: str) -> list[str]:
        if not self.known:
            raise MachineRefused(address, "has other versions")
        news = [] if address in self.joined else [address]
        self.joined.add(address)
        return news


def test_nothing_counts_of_a_machine_that_is_refused_once_it_has_given_something(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    watch = Watch()
    with (
        Ledger(spec(places), tmp_path, "data") as ledger,
        pytest.raises(MachineRefused, match="has other versions"),
    ):
        run_trials(ledger, pretend(notes), TWO_WORKERS, watch, fleet=Stranger(known=False))
    assert os.listdir(notes), "trials have run there"
    assert watch.rows == []
    assert len(watch.closed) == 1


def test_a_machine_is_taken_in_with_its_first_result(
    tmp_path: Path, notes: Path, places: Places
) -> None:
    watch, fleet = Watch(), Stranger(known=True)
    with Ledger(spec(places), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes), TWO_WORKERS, watch, fleet=fleet)
        assert ledger.finished
    (address,) = fleet.joined
    assert watch.said == [f"the machine {address} joined"]


def test_what_is_refused_while_parts_are_built_ends_that(
    tmp_path: Path, scenario: Scenario
) -> None:
    places = Places(data=tmp_path, artifacts=tmp_path / "artifacts")
    bench = Workbench(scenario, places, torch.device("cpu"))
    reported: list[str] = []

    def refuse() -> None:
        raise MachineRefused("10.0.0.7", "has other versions")

    def report(name: str, *_: object) -> None:
        reported.append(name)

    with pytest.raises(MachineRefused):
        prepare(bench, spec(places), places, TWO_WORKERS, report, refuse)
    assert reported == []


def test_a_machine_alone_sends_nothing(scenario: Scenario, places: Places) -> None:
    with Depot(scenario, places) as depot:
        assert depot.shipment is None
        assert depot.news() == []


def test_workers_sum_to_what_fits(places: Places) -> None:
    assert allot(spec(places)).workers == 2
    assert allot(spec(places, concurrency=1)).workers == 1
    assert allot(spec(places, resources={"cpus_per_trial": 2})).workers == 1


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"gpus_per_trial": 1.0}, "--gpus-per-trial is 1, but the largest machine has 0 GPUs"),
        ({"cpus_per_trial": 3}, "--cpus-per-trial is 3, but the largest machine has 2 CPUs"),
    ],
)
def test_more_than_there_is_is_refused(
    places: Places, resources: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        allot(spec(places, resources=resources))


def test_parts_are_joined_while_a_long_study_runs(
    tmp_path: Path, notes: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "COMPACT_EVERY", 3)
    with Ledger(spec(places), tmp_path, "data") as ledger:
        run_trials(ledger, pretend(notes), TWO_WORKERS, Watch())
        assert len(list((ledger.folder / "trials").glob("part-*"))) < 3
    assert results.scan(tmp_path, "s")["number"].to_pylist() == list(range(8))
