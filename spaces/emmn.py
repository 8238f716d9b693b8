"""Search space of EMMN."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Learning rate (log), how noise is made, repeated and batched, epochs, batch norms."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True),
        "noise_batch": trial.suggest_categorical("noise_batch", [4, 16, 64]),
        "repeats": trial.suggest_int("repeats", 20, 100),
        "noise_weight": trial.suggest_float("noise_weight", 0.01, 1.0, log=True),
        "epochs": trial.suggest_int("epochs", 1, 3),
        "repair_epochs": trial.suggest_int("repair_epochs", 0, 2),
        "batch_size": trial.suggest_categorical("batch_size", [4, 16, 64, 256]),
        "batch_norm": trial.suggest_categorical("batch_norm", ["train", "frozen"]),
    }
