"""Search space of SCRUB and SCRUB+R."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Rate, weights of the losses, steps of each kind, temperature, batch sizes, batch norms."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True),
        "alpha": trial.suggest_float("alpha", 1e-3, 1.0, log=True),
        "gamma": trial.suggest_float("gamma", 0.1, 1.0),
        "max_steps": trial.suggest_int("max_steps", 1, 5),
        "epochs": trial.suggest_int("epochs", 5, 10),
        "temperature": trial.suggest_categorical("temperature", [1.0, 2.0, 4.0]),
        "forget_batch_size": trial.suggest_categorical("forget_batch_size", [16, 64, 256]),
        "retain_batch_size": trial.suggest_categorical("retain_batch_size", [32, 64, 128]),
        "batch_norm": trial.suggest_categorical("batch_norm", ["train", "frozen"]),
    }
