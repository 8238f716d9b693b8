"""Search space of gradient ascent on the forget data."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Learning rate (log), epochs, batch size, and whether batch norms follow."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True),
        "epochs": trial.suggest_int("epochs", 1, 5),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
        "batch_norm": trial.suggest_categorical("batch_norm", ["train", "frozen"]),
    }
