"""The Ray Tune class around `trial.run_trial`: the only file here that imports ray."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune

from trainables import methods
from trainables.errors import TrialFailed
from trainables.outcome import State
from trainables.scenario import Places, Scenario
from trainables.trial import run_trial
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
    settle_failures: bool = False,
) -> type[tune.Trainable]:
    """A class Trainable for anyone's `ray.tune.Tuner`, reusable between trials.

    Config keys are the method's hyperparameters and, optionally, `seed`; keys that start with an
    underscore are ignored. One training iteration is one trial; its result holds every metric of
    `trainables.outcome.METRICS` beside `state`, `reason` and the seconds it took; its checkpoint
    the unlearned weights (`model.safetensors`) and `outcome.json`. `timeout` is in seconds;
    `expensive` names groups of metrics as for `run_trial`.

    A failing trial raises, as Tune's users expect, unless `settle_failures` asks for a result
    with its state and reason. Raises InvalidRequest for an unknown method.
    """
    methods.load(method)
    where = places or Places()

    class UnlearningTrial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            use_threads(_cpus_assigned())
            self.bench = shared_workbench(scenario, where)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            config = {k: v for k, v in self.config.items() if not k.startswith("_")}
            seed = config.pop(SEED, 0)
            self.outcome, self.model = run_trial(
                self.bench, method, config, seed, timeout, expensive
            )
            if self.outcome.state is not State.COMPLETE and not settle_failures:
                raise TrialFailed(f"{self.outcome.state}: {self.outcome.reason}")
            flat = asdict(self.outcome)
            return {**flat.pop("metrics"), **flat, tune.result.DONE: True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            folder = Path(checkpoint_dir)
            (folder / "outcome.json").write_text(json.dumps(asdict(self.outcome)))
            if self.model is not None:
                save_model(self.model, folder / "model.safetensors")

        def load_checkpoint(self, checkpoint: Any) -> None:
            """A trial is one iteration: there is nothing to go on from."""

    UnlearningTrial.__name__ = f"{method}_trial"
    return UnlearningTrial


def _cpus_assigned() -> int:
    """Whole CPUs that Ray gave this worker; two threads on one core are slower than one."""
    assigned = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(assigned.get("CPU", 1)))
