"""Search space of JiT."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Learning rate (log), size and number of the perturbations, epochs, batch norms."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-8, 1e-2, log=True),
        "sigma": trial.suggest_float("sigma", 0.05, 1.0),
        "perturbations": trial.suggest_categorical("perturbations", [10, 25, 50, 100]),
        "epochs": trial.suggest_int("epochs", 1, 3),
        "batch_norm": trial.suggest_categorical("batch_norm", ["train", "frozen"]),
    }
