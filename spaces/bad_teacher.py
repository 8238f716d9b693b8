"""Search space of Bad Teacher."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Learning rate (log), epochs, temperature, the share of the retain data, batch norms."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True),
        "epochs": trial.suggest_int("epochs", 1, 5),
        "temperature": trial.suggest_categorical("temperature", [1.0, 2.0, 4.0]),
        "retain_fraction": trial.suggest_float("retain_fraction", 0.1, 1.0),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 256]),
        "batch_norm": trial.suggest_categorical("batch_norm", ["train", "frozen"]),
    }
