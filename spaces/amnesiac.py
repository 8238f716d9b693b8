"""Search space of amnesiac unlearning."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """How much is taken back, and how it is repaired."""
    return {
        "scale": trial.suggest_float("scale", 0.1, 1.0),
        "repair_learning_rate": trial.suggest_float("repair_learning_rate", 1e-5, 1e-2, log=True),
        "repair_epochs": trial.suggest_int("repair_epochs", 0, 3),
    }
