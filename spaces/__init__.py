"""What may vary: one define-by-run search space per method. Imports optuna only.

A space is a function `suggest(trial) -> hyperparameters`. Third parties add theirs through the
entry point group `forgetune.spaces`, under the name of their method.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import optuna

Space = Callable[[optuna.Trial], dict[str, Any]]

SPACES: dict[str, str] = {
    "original": "spaces.fixed:suggest",
    "retrain": "spaces.fixed:suggest",
    "finetune": "spaces.finetune:suggest",
    "mugan": "spaces.mugan:suggest",
}


def load(method: str) -> Space:
    """The space of a method; a method without one has nothing to search.

    Raises ImportError for a third party's space that cannot be imported.
    """
    theirs = {entry.name: entry.value for entry in entry_points(group="forgetune.spaces")}
    module, _, attribute = {**theirs, **SPACES}.get(method, SPACES["original"]).partition(":")
    space: Space = getattr(importlib.import_module(module), attribute)
    return space
