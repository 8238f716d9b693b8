"""The Ray Tune class around `trial.run_trial`: the only file here that imports ray."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from torch import nn

from trainables import methods
from trainables.artifacts.shipping import Shipment, unpack
from trainables.artifacts.store import Depot
from trainables.errors import TrialFailed
from trainables.outcome import OUTCOMES, TOGETHER, Outcome, State
from trainables.scenario import Places, Scenario
from trainables.trial import run_trials_together, trial_phases
from trainables.workbench import save_model, shared_workbench, use_threads

SEED = "seed"
"""Config key of the unlearning seed; every other key is a hyperparameter."""


def trainable(
    method: str,
    scenario: Scenario,
    *,
    places: Places | None = None,
    timeout: float | None = None,
    expensive: tuple[str, ...] = (),
    curve: bool = False,
    report_phases: bool = False,
    settle_failures: bool = False,
    pool: int | None = None,
    shipment: Shipment | None = None,
) -> type[tune.Trainable]:
    """A class Trainable for anyone's `ray.tune.Tuner`, reusable between trials.

    Config keys are the method's hyperparameters and, optionally, `seed`; keys that start with an
    underscore are ignored, but for `TOGETHER`: configs of trials that are to share their steps,
    whose results come in their order under `OUTCOMES`. One training iteration is one trial; its
    result holds every metric of `trainables.outcome.METRICS` beside `state`, `reason` and the
    seconds it took; its checkpoint the unlearned weights (`model.safetensors`) and `outcome.json`.
    `timeout` is in seconds; `expensive` names groups of metrics, `curve` asks for a curve, `pool`
    for samples that trials share, as for `run_trial`.

    With `report_phases` an iteration is one phase or epoch of the method, for schedulers that stop
    early: each reports `forget_accuracy`, `retain_accuracy`, `mia` and `gap` on validation images,
    and one more, the last, all of the above.

    A failing trial raises, as Tune's users expect, unless `settle_failures` asks for a result
    with its state and reason. `shipment` is for clusters whose machines share no disk: what it
    holds is used instead of `scenario` and `places` there. Raises InvalidRequest for an unknown
    method, and for one that needs the training log where the base model comes from a file.
    """
    needs = methods.make(method, {}).needs
    methods.check_log(method, scenario.weights)
    where = places or Places()

    class UnlearningTrial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            started = time.perf_counter()
            use_threads(_cpus_assigned())
            here = (scenario, where, None) if shipment is None else unpack(shipment)
            self.bench = shared_workbench(*here)
            self.bench.share_device(_gpus_assigned())
            self.bench.warm_up(needs, expensive)
            self.setting_up = time.perf_counter() - started
            self.saved = 0.0
            self.phases = self.begin()

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.saved = self.setting_up  # all that a new worker would have had to do
            self.phases = self.begin()
            return True

        def begin(self) -> Iterator[tuple[Outcome, nn.Module | None]]:
            values, seed = _told(self.config)
            return trial_phases(
                self.bench, method, values, seed, timeout, expensive, curve or report_phases, pool
            )

        def warm(self, outcome: Outcome, share: int = 1) -> Outcome:
            saved = outcome.saved_seconds + self.saved / share
            return replace(outcome, saved_seconds=saved)

        def step(self) -> dict[str, Any]:
            if TOGETHER in self.config:
                values, seeds = zip(*map(_told, self.config[TOGETHER]), strict=True)
                ended = run_trials_together(
                    self.bench, method, values, seeds, timeout, expensive, pool
                )
                outcomes = [_flat(self.warm(outcome, len(ended))) for outcome, _ in ended]
                return {OUTCOMES: outcomes, tune.result.DONE: True}
            if report_phases:
                self.outcome, self.model = next(self.phases)
            else:
                *_, (self.outcome, self.model) = self.phases
            self.outcome = self.warm(self.outcome)
            state = self.outcome.state
            under_way = state is State.PRUNED  # what it would be if it were stopped here
            if state is not State.COMPLETE and not under_way and not settle_failures:
                raise TrialFailed(f"{state}: {self.outcome.reason}")
            latest = self.outcome.curve[-1] if under_way else {}
            return {**latest, **_flat(self.outcome), tune.result.DONE: not under_way}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            folder = Path(checkpoint_dir)
            (folder / "outcome.json").write_text(json.dumps(asdict(self.outcome)))
            if self.model is not None:
                save_model(self.model, folder / "model.safetensors", self.bench.image_shape[1:])

        def load_checkpoint(self, checkpoint: Any) -> None:
            """A trial takes seconds: an interrupted one starts afresh."""

    UnlearningTrial.__name__ = f"{method}_trial"
    return UnlearningTrial


@dataclass(frozen=True)
class RayDepot:
    """The depot behind the driver's actor of this name; content travels through Ray's object
    store."""

    name: str

    def read(self, name: str) -> bytes | None:
        actor: Any = ray.get_actor(self.name)
        found: bytes | None = ray.get(actor.read.remote(name))
        return found

    def write(self, name: str, content: bytes) -> None:
        actor: Any = ray.get_actor(self.name)
        ray.get(actor.write.remote(name, content))


@dataclass(frozen=True)
class Reporting:
    """A depot whose readers tell the driver's actor of this name what they receive."""

    depot: Depot
    actor: str

    def read(self, name: str) -> bytes | None:
        if name.endswith(".json"):  # a description: a look at whether there is something to receive
            return self.depot.read(name)
        host = ray.util.get_node_ip_address()
        self._tell("receiving", host, name)
        started = time.perf_counter()
        content = self.depot.read(name)
        if content is not None:
            self._tell("received", host, name, len(content), time.perf_counter() - started)
        return content

    def write(self, name: str, content: bytes) -> None:
        self.depot.write(name, content)

    def _tell(self, what: str, *details: Any) -> None:
        # Without a driver to listen a read may fail, but not over this.
        with contextlib.suppress(ValueError, ray.exceptions.RayError):
            getattr(ray.get_actor(self.actor), what).remote(*details)


def _flat(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a result of Tune's, with each metric under its name."""
    flat = asdict(outcome)
    return {**flat.pop("metrics"), **flat}


def _told(config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The hyperparameters and the seed of one trial."""
    values = {key: value for key, value in config.items() if not key.startswith("_")}
    seed: int = values.pop(SEED, 0)
    return values, seed


def _gpus_assigned() -> float:
    """The share of GPUs that Ray gave this worker; 0 where it has none."""
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))


def _cpus_assigned() -> int:
    """Whole CPUs that Ray gave this worker; two threads on one core are slower than one."""
    assigned = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(assigned.get("CPU", 1)))
