"""Search space of UNSIR."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Both learning rates (log), how the noise is made and how much is used, batch norms."""
    return {
        "impair_learning_rate": trial.suggest_float("impair_learning_rate", 1e-5, 5e-2, log=True),
        "repair_learning_rate": trial.suggest_float("repair_learning_rate", 1e-5, 5e-2, log=True),
        "noise_steps": trial.suggest_int("noise_steps", 10, 100),
        "noise_weight": trial.suggest_float("noise_weight", 0.01, 1.0, log=True),
        "noise_batches": trial.suggest_int("noise_batches", 5, 50),
        "samples_per_class": trial.suggest_int("samples_per_class", 100, 1_000, log=True),
        "batch_norm": trial.suggest_categorical("batch_norm", ["train", "frozen"]),
    }
