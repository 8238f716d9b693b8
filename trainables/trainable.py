"""The Ray Tune class around `trial.run_trial`: the only file here that imports ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from torch import nn

from trainables import methods
from trainables.errors import TrialFailed
from trainables.files import write_whole
from trainables.outcome import Outcome, State
from trainables.scenario import Places, Scenario
from trainables.shipping import Shipment, unpack
from trainables.trial import trial_phases
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
    shipment: Shipment | None = None,
) -> type[tune.Trainable]:
    """A class Trainable for anyone's `ray.tune.Tuner`, reusable between trials.

    Config keys are the method's hyperparameters and, optionally, `seed`; keys that start with an
    underscore are ignored. One training iteration is one trial; its result holds every metric of
    `trainables.outcome.METRICS` beside `state`, `reason` and the seconds it took; its checkpoint
    the unlearned weights (`model.safetensors`) and `outcome.json`. `timeout` is in seconds;
    `expensive` names groups of metrics and `curve` asks for a curve, as for `run_trial`.

    With `report_phases` an iteration is one phase or epoch of the method, for schedulers that stop
    early: each reports `forget_accuracy`, `retain_accuracy`, `mia` and `gap` on validation images,
    and one more, the last, all of the above.

    A failing trial raises, as Tune's users expect, unless `settle_failures` asks for a result
    with its state and reason. `shipment` is for clusters whose machines share no disk: what it
    holds is used instead of `scenario` and `places` there. Raises InvalidRequest for an unknown
    method.
    """
    methods.load(method)
    where = places or Places()

    class UnlearningTrial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            use_threads(_cpus_assigned())
            here = (scenario, where, None) if shipment is None else unpack(shipment)
            self.bench = shared_workbench(*here)
            self.bench.share_device(_gpus_assigned())
            self.phases = self.begin()

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.phases = self.begin()
            return True

        def begin(self) -> Iterator[tuple[Outcome, nn.Module | None]]:
            config = {k: v for k, v in self.config.items() if not k.startswith("_")}
            seed = config.pop(SEED, 0)
            return trial_phases(
                self.bench, method, config, seed, timeout, expensive, curve or report_phases
            )

        def step(self) -> dict[str, Any]:
            if report_phases:
                self.outcome, self.model = next(self.phases)
            else:
                *_, (self.outcome, self.model) = self.phases
            state = self.outcome.state
            under_way = state is State.PRUNED  # what it would be if it were stopped here
            if state is not State.COMPLETE and not under_way and not settle_failures:
                raise TrialFailed(f"{state}: {self.outcome.reason}")
            flat = asdict(self.outcome)
            metrics = flat.pop("metrics") or (self.outcome.curve[-1] if under_way else {})
            return {**metrics, **flat, tune.result.DONE: not under_way}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            folder = Path(checkpoint_dir)
            (folder / "outcome.json").write_text(json.dumps(asdict(self.outcome)))
            if self.model is not None:
                save_model(self.model, folder / "model.safetensors", self.bench.image_shape[1:])

        def load_checkpoint(self, checkpoint: Any) -> None:
            """A trial takes seconds: an interrupted one starts afresh."""

    UnlearningTrial.__name__ = f"{method}_trial"
    return UnlearningTrial


class DepotActor:
    """Serves files of the driver's artifacts folder to machines that do not see it, and takes what
    they build. Names are plain file names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        path = self._folder / Path(name).name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, content: bytes) -> None:
        write_whole(self._folder / Path(name).name, content)


@dataclass(frozen=True)
class RayDepot:
    """The depot behind the actor of this name; content travels through Ray's object store."""

    name: str

    def read(self, name: str) -> bytes | None:
        actor: Any = ray.get_actor(self.name)
        found: bytes | None = ray.get(actor.read.remote(name))
        return found

    def write(self, name: str, content: bytes) -> None:
        actor: Any = ray.get_actor(self.name)
        ray.get(actor.write.remote(name, content))


def _gpus_assigned() -> float:
    """The share of GPUs that Ray gave this worker; 0 where it has none."""
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))


def _cpus_assigned() -> int:
    """Whole CPUs that Ray gave this worker; two threads on one core are slower than one."""
    assigned = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(assigned.get("CPU", 1)))
