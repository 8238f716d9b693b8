"""How much each hyperparameter matters for a figure, and how sure that is. Pure functions over
rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from search.analysis.agreement import CONFIDENCE
from search.analysis.best import FIGURES
from search.analysis.evaluators import (
    EVALUATORS,
    differ,
    make_evaluator,
    on_their_scales,
    shares_of,
    silent,
    trials_of,
    varying,
)
from search.analysis.sheets import Line, Sheet, cell
from trainables.errors import InvalidRequest, unknown

if TYPE_CHECKING:  # Optuna takes a second to import, and few commands need it.
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

UNBIASED = ("random", "sobol", "grid", "listed")
"""Samplers that look at the whole space alike, whatever came of earlier trials."""

LEAST_TRIALS = 10
"""Fewer say nothing: PED-ANOVA would compare a single best trial with the others."""

RESAMPLES = 100

TREES, DRAWN_TREES = 64, 10
"""Of the forests of fANOVA and MDI, for the share and for each draw of the bootstrap."""


@dataclass(frozen=True)
class Importance:
    """A hyperparameter's share (0 to 1; all add up to 1) over `trials` trials, and the ends of its
    bootstrap interval."""

    name: str
    share: float
    low: float
    high: float
    trials: int

    def __str__(self) -> str:
        return (
            f"{self.name} {self.share:.2f} ({CONFIDENCE:.0%} bootstrap interval {self.low:.2f} to "
            f"{self.high:.2f}, {self.trials} trials)"
        )


def importance(
    table: pa.Table,
    distributions: Mapping[str, BaseDistribution],
    target: str = "gap",
    evaluator: str = "fanova",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Importance]:
    """How much each hyperparameter matters for `target`, the most important first.

    `distributions` are those of the search space; complete trials count that lie in it. `target`
    is one of FIGURES, from what steered the study. `evaluator`: "fanova" (Hutter et al. 2014), the
    share in the variance over the whole space that hyperparameters make each alone; "mdi", the
    share by which a forest's splits on it lessen the variance among the trials; "ped-anova"
    (Watanabe et al. 2023), how far it sets the best tenth of the trials apart.

    The interval is the percentile bootstrap's over trials, its draws and forests fixed by `seed`,
    widened where needed to contain the share; forests of fewer trees make it a little wider. It
    says how much the share depends on which trials there happen to be, not how near the evaluator
    comes to the truth. An optimiser's trials are no random sample of the space: importance from
    them leans towards the region that it looked at, which that from the samplers `random` and
    `sobol` does not.

    Raises InvalidRequest for an unknown target or evaluator and where importance is not defined:
    too few trials, all alike in the target, or in every hyperparameter.
    """
    if target not in FIGURES:
        raise InvalidRequest(unknown("target", target, FIGURES))
    if evaluator not in EVALUATORS:
        raise InvalidRequest(unknown("evaluator", evaluator, EVALUATORS))
    trials = trials_of(table, distributions, target)
    _check_defined(trials, distributions, target)
    if evaluator != "ped-anova":  # which looks at the scales itself
        trials = on_their_scales(trials, distributions)
    names = list(distributions)
    with silent():
        found = _bootstrap(trials, names, target, evaluator, resamples, seed)
    if found is None:
        others = ", ".join(name for name in EVALUATORS if name != evaluator)
        raise InvalidRequest(
            f"{evaluator} finds no difference in {target} among the {len(trials)} complete trials "
            f"(possible: {others})"
        )
    result = [
        Importance(name, share, low, high, len(trials))
        for name, share, low, high in zip(names, *found.tolist(), strict=True)
    ]
    return sorted(result, key=lambda item: -item.share)


def sheet(found: Sequence[Importance]) -> Sheet:
    """A line for each hyperparameter; shares and ends of intervals in percent."""
    lines = [
        Line([item.name], [cell([100 * value]) for value in (item.share, item.low, item.high)],
             item.trials)
        for item in found
    ]  # fmt: skip
    return Sheet(["hyperparameter"], ["importance", "from", "to"], lines, repeated=False)


def caption(found: Sequence[Importance], sampler: str) -> str:
    """What the shares are, and whether the trials lean towards the optimum."""
    told = (
        f"share in %, with its {CONFIDENCE:.0%} bootstrap interval over {found[0].trials} complete "
        "trials"
    )
    if sampler in UNBIASED:
        return told
    return f"{told}; those of the sampler {sampler} crowd near the optimum, and so lean the shares"


def _check_defined(trials: Sequence[FrozenTrial], names: Iterable[str], target: str) -> None:
    if len(trials) < LEAST_TRIALS:
        raise InvalidRequest(
            f"importance needs {LEAST_TRIALS} complete trials of this search space with its "
            f"{target}; there are {len(trials)}"
        )
    if not varying(trials, names):
        raise InvalidRequest(
            f"no hyperparameter varies among the {len(trials)} complete trials, so none has "
            "importance"
        )
    if not differ(trial.value for trial in trials):
        raise InvalidRequest(
            f"{target} is {trials[0].value:g} in all {len(trials)} complete trials, so no "
            "hyperparameter is important for it"
        )


def _bootstrap(
    trials: Sequence[FrozenTrial],
    names: Sequence[str],
    target: str,
    evaluator: str,
    resamples: int,
    seed: int,
) -> np.ndarray | None:
    """Share, low and high end of each hyperparameter, shape (3, names); None where the evaluator
    finds no share."""
    rng = np.random.default_rng(seed)

    def shares(sample: Sequence[FrozenTrial], trees: int) -> np.ndarray | None:
        judge = make_evaluator(evaluator, trees, seed=int(rng.integers(2**31)))
        return shares_of(sample, names, target, judge)

    share = shares(trials, TREES)
    if share is None:
        return None
    draws = (rng.integers(len(trials), size=len(trials)) for _ in range(resamples))
    drawn = [shares([trials[index] for index in draw], DRAWN_TREES) for draw in draws]
    # A draw of trials alike in the target has no shares.
    known = np.stack([share, *(found for found in drawn if found is not None)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail], axis=0)
    # Draws repeat trials and so know fewer: a share near 0 or 1 can lie outside all of theirs.
    return np.stack([share, np.minimum(low, share), np.maximum(high, share)])
