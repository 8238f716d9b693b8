"""Several trials on one GPU, with Ray's logical GPUs: no real one is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from search.definition.reading import validate
from search.definition.resolving import resolve
from search.definition.spec import StudySpec
from search.engine.allotment import Allotment, allot, alone
from search.engine.scheduling import run_trials
from search.ledger.ledger import Ledger
from search.store import results
from search.store.status import status
from tests.search.engine.test_scheduling import METRICS, Watch
from tests.search.toys import only_line, toy_row, write_study
from trainables.scenario import Places


@pytest.fixture(scope="module", autouse=True)
def one_logical_gpu() -> Iterator[None]:
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level=50)
    yield
    ray.shutdown()


def spec(places: Places, **values: Any) -> StudySpec:
    given = {"name": "s", "trials": 6, "sampler": "random", **values}
    return resolve(validate(given), places)


def hungry() -> Any:
    """A trainable that runs out of memory in trials 1 and 4 unless it has a whole GPU, always in
    trial 2. Made here, so that workers get it by value."""

    class Hungry(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            share = ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0)
            number = self.config["_ticket"]
            full = number == 2 or (number in (1, 4) and share < 1)
            ended = {
                "state": "oom" if full else "complete",
                "reason": f"out of memory with {share:g} of a GPU" if full else None,
                "method": "mugan",
                "hyperparameters": {},
                "seed": self.config["seed"],
                "started": 1.0,
                "finished": 2.0,
                "peak_memory_mb": 1000.0 * share,
                "done": True,
            }
            return {**METRICS, **ended}

    return Hungry


def test_a_fraction_packs_trials_on_a_gpu(places: Places) -> None:
    packed = allot(spec(places, resources={"gpus_per_trial": 0.5}))
    assert packed == Allotment(cpus=1, gpus=0.5, workers=2)
    assert allot(spec(places, resources={"gpus_per_trial": 0.25})).workers == 2, "two CPUs"
    assert allot(spec(places)).workers == 1, "a whole one unless told otherwise"
    assert alone(packed) == Allotment(cpus=1, gpus=1.0, workers=1)


def test_what_ran_out_of_memory_beside_others_is_run_alone_and_told_apart(
    tmp_path: Path, places: Places
) -> None:
    allotment = Allotment(cpus=1, gpus=0.5, workers=2)
    with Ledger(spec(places), tmp_path, "data") as ledger:
        ledger.spare_memory = True
        run_trials(ledger, hungry(), allotment, Watch())
        assert ledger.exhausted
        assert not ledger.finished
        assert results.scan(tmp_path, "s")["number"].to_pylist() == [0, 3, 5]
        assert ledger.hand_out_alone()
        run_trials(ledger, hungry(), alone(allotment), Watch())
        assert ledger.finished
        assert not ledger.hand_out_alone()
    rows = results.scan(tmp_path, "s").to_pylist()
    assert [row["state"] for row in rows] == ["complete"] * 2 + ["oom"] + ["complete"] * 3
    assert [row["attempt"] for row in rows] == [1, 2, 2, 1, 2, 1]
    assert rows[2]["reason"] == "out of memory with 1 of a GPU"


@pytest.mark.parametrize(
    ("peak", "said"),
    [
        (9_400.0, "6 fit on a GPU (--gpus-per-trial 0.166)"),
        (700.0, "55 fit on a GPU (--gpus-per-trial 0.018)"),
        (60_000.0, "one at a time fits"),
    ],
)
def test_status_says_how_many_trials_fit_on_a_gpu(tmp_path: Path, peak: float, said: str) -> None:
    """Of 80,000 MB a trial takes 1.2 times its tensors and 600 MB."""
    sizes = {"device_memory_mb": 80_000.0}
    rows = [toy_row(n, peak_memory_mb=p, **sizes) for n, p in enumerate((100.0, peak))]
    write_study(tmp_path, rows)
    advice = status(tmp_path, "toy").advice
    assert advice is not None
    assert only_line(advice).endswith(said)


def test_without_a_gpu_there_is_no_advice(tmp_path: Path) -> None:
    write_study(tmp_path, [toy_row(0)])
    assert status(tmp_path, "toy").advice is None


def test_only_what_ran_out_of_memory_is_handed_out_to_be_run_alone(
    tmp_path: Path, places: Places
) -> None:
    """Trials that were interrupted wait among the others, and need no GPU of their own."""
    with Ledger(spec(places), tmp_path, "data") as ledger:
        ledger.ask()
    with Ledger(spec(places), tmp_path, "data") as ledger:
        assert not ledger.hand_out_alone()
