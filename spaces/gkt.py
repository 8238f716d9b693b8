"""Search space of GKT.

Batch norms are not to be frozen in it: its student starts from random weights, and statistics
that stay would be those of nothing.
"""

from __future__ import annotations

from typing import Any

import optuna


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Both learning rates (log), the gate, the weight of attention, the budget."""
    return {
        "student_learning_rate": trial.suggest_float("student_learning_rate", 1e-4, 1e-2, log=True),
        "generator_learning_rate": trial.suggest_float(
            "generator_learning_rate", 1e-4, 1e-2, log=True
        ),
        "threshold": trial.suggest_float("threshold", 1e-3, 0.3, log=True),
        "beta": trial.suggest_categorical("beta", [0.0, 50.0, 250.0]),
        "pseudo_batches": trial.suggest_int("pseudo_batches", 200, 4000, log=True),
    }
