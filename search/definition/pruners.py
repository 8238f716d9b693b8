"""Pruners by name: which trials of a single-objective study are stopped early.

They are Optuna's, and look at the journal: what they know outlives an interruption.
"""

from __future__ import annotations

from collections.abc import Callable

from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from trainables.errors import InvalidRequest, unknown


def _asha() -> BasePruner:
    """Asynchronous successive halving (Li et al. 2020): at phase 1, 3, 9, ... only the best third
    of those that have come so far goes on."""
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


def _median() -> BasePruner:
    """Stops what is worse than the median of the completed trials at the same phase."""
    return MedianPruner(n_startup_trials=5)


PRUNERS: dict[str, Callable[[], BasePruner]] = {"none": NopPruner, "asha": _asha, "median": _median}


def check_known(name: str) -> None:
    """Raises InvalidRequest if there is no pruner of this name."""
    if name not in PRUNERS:
        raise InvalidRequest(unknown("pruner", name, PRUNERS))


def make(name: str) -> BasePruner:
    """The pruner of this name. Raises InvalidRequest for an unknown one."""
    check_known(name)
    return PRUNERS[name]()
