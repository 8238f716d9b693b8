"""What may vary: one define-by-run search space per method. Imports optuna only.

A space is a function `suggest(trial) -> hyperparameters`. Third parties add theirs through the
entry point group `forgetune.spaces`, under the name of their method.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import optuna

Space = Callable[[optuna.Trial], dict[str, Any]]

SPACES: dict[str, str] = {
    "original": "spaces.fixed:suggest",
    "retrain": "spaces.fixed:suggest",
    "mask": "spaces.fixed:suggest",
    "finetune": "spaces.finetune:suggest",
    "negative_gradient": "spaces.negative_gradient:suggest",
    "random_labels": "spaces.random_labels:suggest",
    "amnesiac": "spaces.amnesiac:suggest",
    "bad_teacher": "spaces.bad_teacher:suggest",
    "scrub": "spaces.scrub:suggest",
    "scrub_r": "spaces.scrub:suggest",
    "unsir": "spaces.unsir:suggest",
    "jit": "spaces.jit:suggest",
    "gkt": "spaces.gkt:suggest",
    "emmn": "spaces.emmn:suggest",
    "mugan": "spaces.mugan:suggest",
    "zmugan": "spaces.zmugan:suggest",
    "zdelete": "spaces.zdelete:suggest",
}


def load(method: str) -> Space:
    """The space of a method; a method without one has nothing to search.

    Raises ImportError for a third party's space that cannot be imported.
    """
    module, _, attribute = {**_theirs(), **SPACES}.get(method, SPACES["original"]).partition(":")
    space: Space = getattr(importlib.import_module(module), attribute)
    return space


@cache
def _theirs() -> dict[str, str]:
    return {entry.name: entry.value for entry in entry_points(group="forgetune.spaces")}
