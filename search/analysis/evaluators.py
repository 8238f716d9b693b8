"""Optuna's evaluators of importance, and the trials as they take them."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from search.analysis.best import FIGURES, complete, figures

if TYPE_CHECKING:  # Optuna takes a second to import, and few commands need it.
    from optuna.distributions import BaseDistribution
    from optuna.importance import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial

EVALUATORS = ("fanova", "mdi", "ped-anova")

DEPTH = 6
"""Of the trees of fANOVA and MDI. Trees as deep as Optuna's (64) take far longer and come no nearer
to known shares."""


def trials_of(
    table: pa.Table, distributions: Mapping[str, BaseDistribution], target: str
) -> list[FrozenTrial]:
    """Optuna's trials of the complete rows that have a target and lie in the search space; those
    of an earlier space may not."""
    from optuna.trial import create_trial

    trials = []
    for row in complete(table).to_pylist():
        value = dict(zip(FIGURES, figures(row), strict=True))[target]
        params = json.loads(row["params_json"])
        if value is None or not math.isfinite(value) or not distributions.keys() <= params.keys():
            continue
        searched = {name: params[name] for name in distributions}
        with contextlib.suppress(ValueError):  # a value that its distribution does not have
            trials.append(
                create_trial(value=value, params=searched, distributions=dict(distributions))
            )
    return trials


def on_their_scales(
    trials: Sequence[FrozenTrial], distributions: Mapping[str, BaseDistribution]
) -> list[FrozenTrial]:
    """The trials with each hyperparameter as a number on whose interval the search space is
    uniform: logarithms on logarithmic scales, positions of choices.

    Optuna's fANOVA weighs a learning rate of 1e-6..1e-1 by its length instead, nine tenths of
    which lie above 1e-2, and counts combinations of choices that there cannot be.
    """
    from optuna.trial import create_trial

    scales = {name: _scale(distribution) for name, distribution in distributions.items()}
    intervals = {name: interval for name, (interval, _) in scales.items()}
    return [
        create_trial(
            value=trial.value,
            params={name: place(trial.params[name]) for name, (_, place) in scales.items()},
            distributions=intervals,
        )
        for trial in trials
    ]


def _scale(
    distribution: BaseDistribution,
) -> tuple[BaseDistribution, Callable[[Any], float]]:
    """The interval, and where on it a value lies."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return FloatDistribution(-0.5, len(distribution.choices) - 0.5), (
            distribution.to_internal_repr
        )
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"no scale of {distribution}")
    half = (distribution.step or 0) / 2  # so that the ends count as much as what lies between
    low, high = distribution.low - half, distribution.high + half
    if distribution.log:
        return FloatDistribution(math.log(low), math.log(high)), math.log
    return FloatDistribution(low, high), float


def make_evaluator(name: str, trees: int, seed: int) -> BaseImportanceEvaluator:
    """The evaluator of this name; PED-ANOVA has no trees."""
    from optuna import importance as evaluators

    match name:
        case "fanova":
            return evaluators.FanovaImportanceEvaluator(n_trees=trees, max_depth=DEPTH, seed=seed)
        case "mdi":
            return evaluators.MeanDecreaseImpurityImportanceEvaluator(
                n_trees=trees, max_depth=DEPTH, seed=seed
            )
    return evaluators.PedAnovaImportanceEvaluator()


def shares_of(
    trials: Sequence[FrozenTrial],
    names: Sequence[str],
    target: str,
    evaluator: BaseImportanceEvaluator,
) -> np.ndarray | None:
    """Shares of the hyperparameters of these names, shape (names,), 0 for those that do not vary;
    None where the evaluator finds none."""
    import optuna

    # In any other order Optuna 5.0 hands out MDI's importances under the wrong names.
    differing = varying(trials, sorted(names))
    study = optuna.create_study(direction="maximize" if target == "retain_accuracy" else "minimize")
    study.add_trials(trials)
    try:
        # Normalised by Optuna, nothing at all would be equal shares.
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=differing, normalize=False
        )
    except RuntimeError:  # fANOVA: "zero total variance in all trees"
        return None
    total = sum(found.values())
    return np.array([found.get(name, 0.0) / total for name in names]) if total > 0 else None


def varying(trials: Sequence[FrozenTrial], names: Iterable[str]) -> list[str]:
    """The hyperparameters that are not alike in all trials."""
    return [name for name in names if differ(trial.params[name] for trial in trials)]


def differ(values: Iterable[Any]) -> bool:
    """Whether not all are alike."""
    return len(set(values)) > 1


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Optuna says of each draw that a study was made and that importance may be normalised."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
