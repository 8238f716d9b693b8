"""Machines that join while trials run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ray import tune
from ray.tune.result import NODE_IP

from search.engine.allotment import Allotment
from search.engine.machines import Fleet, MachineRefused
from search.engine.observer import Observer
from search.engine.searcher import LedgerSearcher
from search.engine.settling import SettlingCallback

LOOK_SECONDS = 3.0
"""Time between two looks at which machines there are."""


class JoiningCallback(tune.Callback):
    """Takes in the machines that join while trials run."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __init__(
        self,
        fleet: Fleet,
        allotment: Allotment,
        grows: bool,
        searcher: LedgerSearcher,
        settling: SettlingCallback,
        observer: Observer,
    ) -> None:
        self._fleet = fleet
        self._allotment = allotment
        self._grows = grows
        self._searcher = searcher
        self._settling = settling
        self._observer = observer
        self._next = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() < self._next or self._searcher.closing:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        self._take_in(self._fleet.look)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that waits for a place may run on a machine that joined before it has said which
        versions it has; what it gives must not count before."""
        address = trial.last_result.get(NODE_IP)
        if address is not None and address not in self._settling.refused:
            self._take_in(partial(self._fleet.wait_for, address))

    def _take_in(self, look: Callable[[], list[str]]) -> None:
        try:
            joined = look()
        except MachineRefused as refusal:
            self._settling.refuse(refusal)
            return
        before = self._searcher.slots
        if self._grows:
            fitting = self._fleet.fit(self._allotment.cpus, self._allotment.gpus)
            # Where a machine has gone, its slots wait for the next one.
            self._searcher.slots = max(before, fitting)
        for address in joined:
            self._observer.say(f"the machine {address} joined")
        if self._searcher.slots > before:
            self._observer.say(f"{self._searcher.slots * self._allotment.fuse} trials run at once")
