"""Search space of zMuGAN: the samples of tables 9-10 of the thesis, the rates of tables 13-14 from
1e-6 up, below which nothing changes."""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Rate and samples (both log), number of generators, temperature, batch sizes, batch norms."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-1, log=True),
        "generators": trial.suggest_int("generators", 1, 5),
        "samples_per_generator": trial.suggest_int("samples_per_generator", 100, 2_000, log=True),
        "temperature": trial.suggest_categorical("temperature", [1.0, 2.0, 4.0, 8.0]),
        "forget_batch_size": trial.suggest_categorical("forget_batch_size", [16, 32, 64]),
        "retain_batch_size": trial.suggest_categorical("retain_batch_size", [32, 64, 128]),
        "batch_norm": trial.suggest_categorical("batch_norm", ["train", "frozen"]),
    }
