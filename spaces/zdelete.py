"""Search space of DELETE without data."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Learning rate and samples (both log), epochs, generators, batch size, and what learns."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "epochs": trial.suggest_int("epochs", 1, 10),
        "generators": trial.suggest_int("generators", 1, 5),
        "samples_per_generator": trial.suggest_int("samples_per_generator", 100, 1_000, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
        "layers": trial.suggest_categorical("layers", [2, 3, 5, 8]),
        "head_epochs": trial.suggest_int("head_epochs", 0, 4),
    }
