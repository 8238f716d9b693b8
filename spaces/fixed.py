"""Nothing to search: the method has no hyperparameters, or they are the base model's recipe."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """No hyperparameters."""
    return {}
