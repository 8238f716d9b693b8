"""Machines that differ, that join while a study runs, that have other versions: nodes of this
machine under several addresses."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import ray
from ray import tune

from search.definition.reading import validate
from search.definition.resolving import resolve
from search.definition.spec import StudySpec
from search.engine.allotment import Allotment, allot, alone
from search.engine.connection import start_ray
from search.engine.depot import Depot
from search.engine.machines import Fleet, MachineRefused, fit, machines
from search.engine.scheduling import run_trials
from search.ledger.ledger import Ledger
from search.store import results
from search.store.results import Row
from tests.search.engine.test_scheduling import METRICS, Watch
from trainables.artifacts.shipping import unmark, unpack
from trainables.errors import InvalidRequest
from trainables.models import catalogue
from trainables.scenario import Places, Scenario
from trainables.workbench import save_model

LONG = 120.0
"""Seconds after which a trial no longer waits for what it should see; the test has failed then."""


# What fits, by hand


@pytest.mark.parametrize(
    ("cpus", "gpus", "trials"),
    [
        (1, 1.0, 1 + 0 + 1),  # the first has two GPUs, but a CPU for one trial only
        (1, 0.5, 1 + 0 + 2),
        (1, 0.4, 1 + 0 + 2),  # what two trials leave of a GPU is too little for a third
        (1, 0.0, 1 + 16 + 4),
        (2, 0.5, 0 + 0 + 2),
        (2, 0.0, 0 + 8 + 2),
        (4, 1.0, 0 + 0 + 1),
        (1, 2.0, 1 + 0 + 0),
        (5, 1.0, 0),
    ],
)
def test_what_fits_is_counted_machine_by_machine(cpus: int, gpus: float, trials: int) -> None:
    mixed = [{"CPU": 1.0, "GPU": 2.0}, {"CPU": 16.0}, {"CPU": 4.0, "GPU": 1.0}]
    assert fit(mixed, cpus, gpus) == trials


@pytest.mark.parametrize(
    ("gpus", "trials"), [(0.4, 4), (0.34, 4), (1 / 3, 6), (1 / 99, 198), (0.6, 2), (0.07, 28)]
)
def test_a_fraction_must_fit_within_single_gpus(gpus: float, trials: int) -> None:
    assert fit([{"CPU": 400.0, "GPU": 2.0}], 1, gpus) == trials


def test_three_gpus_have_room_for_one_trial_of_two() -> None:
    assert fit([{"CPU": 8.0, "GPU": 3.0}], 1, 2.0) == 1
    assert fit([{"CPU": 8.0, "GPU": 4.0}], 1, 2.0) == 2


# On a cluster


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the first machine."""
    return tmp_path_factory.mktemp("theirs")


@pytest.fixture(scope="module")
def cluster(faults: ModuleType, theirs: Path) -> Iterator[Any]:
    """One with a head that runs no trials and the machine 127.0.0.2, which has two GPUs and one
    CPU. This process is connected to the head."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        patch.setenv("RAY_AUTH_MODE", "disabled")
        found = faults.Cluster(Path(folder))
        try:
            found.start(nodes=0)
            start_ray(found.address)
            first = ("--node-ip-address=127.0.0.2", "--num-gpus=2")
            found.add_node(1, *first, inside=("env", f"XDG_CACHE_HOME={theirs}"))
            yield found
        finally:
            ray.shutdown()
            found.stop()


@pytest.fixture
def add(cluster: Any) -> Iterator[Callable[..., str]]:
    """Adds a machine with an address of its own for the length of a test."""
    added: list[str] = []

    def add_node(address: str, cpus: int, *options: str, **more: Any) -> str:
        added.append(cluster.add_node(cpus, f"--node-ip-address={address}", *options, **more))
        return added[-1]

    yield add_node
    for name in added:
        if name in cluster.groups:
            cluster.kill(name)
    wait_for(lambda: len(machines()) == 1)


def wait_for(event: Callable[[], bool]) -> None:
    """Until Ray has noticed what was done."""
    deadline = time.monotonic() + LONG
    while not event():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def spec(places: Places, **values: Any) -> StudySpec:
    given = {"name": "s", "trials": 8, "sampler": "random", **values}
    return resolve(validate(given), places)


def patient(notes: Path, *, first: int, there: int) -> Any:
    """A trainable that notes on which machine it runs each trial and with how much of a GPU. Trials
    from number `first` on wait until so many files are in `notes`."""

    class Pretend(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            number = self.config["_ticket"]
            address = ray.util.get_node_ip_address()
            gpus = ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0)
            with (notes / address).open("a") as file:
                file.write(f"{number} {gpus}\n")
            deadline = time.monotonic() + LONG
            while (
                number >= first and len(os.listdir(notes)) < there and time.monotonic() < deadline
            ):
                time.sleep(0.05)
            ended = {
                "state": "complete",
                "method": "mugan",
                "hyperparameters": {},
                "seed": self.config["seed"],
                "started": 1.0,
                "finished": 2.0,
                "host": address,
                "done": True,
            }
            return {**METRICS, **ended}

    return Pretend


def used(notes: Path) -> dict[str, list[tuple[int, float]]]:
    """Address of a machine -> number and share of a GPU of each trial that it ran."""
    return {
        path.name: [
            (int(n), float(gpus)) for n, gpus in map(str.split, path.read_text().splitlines())
        ]
        for path in notes.iterdir()
        if path.name[0].isdigit()
    }


def after(count: int, then: Callable[[], object]) -> Callable[[Row], None]:
    """Calls `then` once so many trials have settled."""
    settled: list[Row] = []

    def settle(row: Row) -> None:
        settled.append(row)
        if len(settled) == count:
            then()

    return settle


@pytest.mark.cluster
@pytest.mark.parametrize("shared", ["the driver's disk", "a URI"])
def test_what_a_machine_receives_is_told_once(
    tmp_path: Path, places: Places, scenario: Scenario, cluster: Any, theirs: Path, shared: str
) -> None:
    if shared == "a URI":
        places = replace(places, artifacts=f"file://{tmp_path}/artifacts")  # type: ignore[arg-type]
    weights = tmp_path / "base.safetensors"
    save_model(catalogue.build(scenario.model, (1, 8, 8), 3, scenario.width, 0), weights, (8, 8))
    with Depot(replace(scenario, weights=str(weights)), places) as depot:
        assert depot.shipment is not None
        unmark(depot.shipment)  # so that the machine does not share this one's disk
        unpacked = ray.remote(num_cpus=1)(unpack)
        for _ in range(2):
            there, *_ = ray.get(unpacked.remote(depot.shipment))
            assert Path(there.dataset).is_relative_to(theirs)
        lines: list[str] = []

        def told() -> bool:
            lines.extend(line for line in depot.news() if "is receiving" not in line)
            return len(lines) >= 2

        wait_for(told)
    received = r"127\.0\.0\.2 received {}-\w+\.{} \(\d+\.\d MB in \d+\.\d s\)"
    assert re.fullmatch(received.format("dataset", "npz"), lines[0])
    assert re.fullmatch(received.format("weights", "safetensors"), lines[1])
    assert len(lines) == 2


@pytest.mark.cluster
def test_a_machine_with_other_versions_that_joins_ends_the_run_in_order(
    tmp_path: Path, notes: Path, places: Places, add: Callable[..., str], cluster: Any
) -> None:
    other = tmp_path / "other" / "torch-0.4.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.4\n")
    python_path = f"PYTHONPATH={other.parent}:{Path(results.__file__).parents[2]}"
    joined: list[str] = []

    class LateFleet(Fleet):
        """Looks when a trial runs on the machine already."""

        def look(self) -> list[str]:
            return [] if joined and not (notes / "127.0.0.3").exists() else super().look()

    class Closing(Watch):
        def closing(self, running: int, why: str) -> None:
            super().closing(running, why)
            (notes / "closing").touch()

    def join() -> None:
        joined.append(add("127.0.0.3", 1, inside=("env", python_path)))

    fleet = LateFleet()
    fleet.check()
    watch = Closing(after(1, join))
    trainable = patient(notes, first=1, there=3)  # all but one last until the run closes
    two = Allotment(cpus=1, gpus=0.0, workers=2)
    with (
        Ledger(spec(places, trials=40), tmp_path, "data") as ledger,
        pytest.raises(MachineRefused) as refusal,
    ):
        run_trials(ledger, trainable, two, watch, fleet=fleet)
    message = str(refusal.value)
    assert message.startswith("the machine 127.0.0.3 has other versions: torch 0.4 (here ")
    assert message.endswith("; mend it or take it out of the cluster, and the same command goes on")
    assert watch.closed == [(2, "the machine 127.0.0.3 cannot take part")]
    before = results.scan(tmp_path, "s").to_pylist()
    assert len(before) >= 2, "the first trial, and what ran beside the machine that was refused"
    assert {row["host"] for row in before} == {"127.0.0.2"}, "what the other gave does not count"
    not_counted = {number for number, _ in used(notes)["127.0.0.3"]}

    with pytest.raises(MachineRefused) as at_the_start:
        Fleet().check()
    assert str(at_the_start.value) == message

    cluster.kill(joined[0])
    wait_for(lambda: len(machines()) == 1)
    fleet = Fleet()
    fleet.check()
    chosen = spec(places, trials=8)
    with Ledger(chosen, tmp_path, "data") as ledger:
        run_trials(ledger, trainable, allot(chosen), Watch(), fleet=fleet)
        assert ledger.finished
    assert results.scan(tmp_path, "s")["number"].to_pylist() == list(range(8))
    assert not_counted <= {number for number, _ in used(notes)["127.0.0.2"]}


@pytest.mark.cluster
def test_a_study_grows_with_its_cluster_whose_machines_differ(
    tmp_path: Path, notes: Path, places: Places, add: Callable[..., str]
) -> None:
    chosen = spec(places, trials=12, resources={"gpus_per_trial": 0.5})
    fleet = Fleet()
    fleet.check()
    allotment = allot(chosen)
    assert allotment == Allotment(cpus=1, gpus=0.5, workers=1), "one CPU beside two GPUs"
    watch = Watch(after(2, lambda: add("127.0.0.3", 4, "--num-gpus=1")))
    with Ledger(chosen, tmp_path, "data") as ledger:
        run_trials(ledger, patient(notes, first=3, there=2), allotment, watch, fleet=fleet)
        assert ledger.finished
    assert watch.said == ["the machine 127.0.0.3 joined", "3 trials run at once"]
    rows = results.scan(tmp_path, "s").to_pylist()
    assert [(row["number"], row["state"]) for row in rows] == [(n, "complete") for n in range(12)]
    by_machine = used(notes)
    assert set(by_machine) == {"127.0.0.2", "127.0.0.3"}
    trials = [trial for found in by_machine.values() for trial in found]
    assert sorted(trials) == [(number, 0.5) for number in range(12)]

    assert allot(chosen).workers == 3
    assert alone(allot(chosen)) == Allotment(cpus=1, gpus=1.0, workers=2)
    assert allot(spec(places)).workers == 2, "a whole GPU each"
    assert allot(spec(places, resources={"gpus_per_trial": 0})).workers == 5
    assert allot(spec(places, concurrency=20)).workers == 20, "an autoscaler may start more"
    with pytest.raises(InvalidRequest, match="no machine has both 2 CPUs and 2 GPUs for a trial"):
        allot(spec(places, resources={"cpus_per_trial": 2, "gpus_per_trial": 2}))
