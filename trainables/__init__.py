"""What one trial does: data, models, generators, unlearning methods, metrics, artifacts.

Runs on a machine that has neither ray nor optuna; only `trainable` needs ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.errors import ForgetuneError, InvalidRequest
from trainables.scenario import Places, Scenario

if TYPE_CHECKING:
    from trainables.trainable import trainable
    from trainables.trial import run_trial
    from trainables.workbench import Workbench

__all__ = [
    "ForgetuneError",
    "InvalidRequest",
    "Places",
    "Scenario",
    "Workbench",
    "run_trial",
    "trainable",
]

_LAZY = {
    "trainable": "trainables.trainable",
    "run_trial": "trainables.trial",
    "Workbench": "trainables.workbench",
}


def __getattr__(name: str) -> Any:
    # torch and ray are imported only by those who use them; `forgetune best` does not.
    if name not in _LAZY:
        raise AttributeError(f"module 'trainables' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(_LAZY[name])
    # Importing the submodule `trainable` binds the module to this name; the function goes first.
    globals()[name] = value = getattr(module, name)
    return value
