"""Tune's searcher: hands out the ledger's trials, to slots that have each a worker of their own."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ray.tune.search import Searcher

from search.engine.allotment import Allotment
from search.ledger.ledger import Ledger
from search.ledger.ticket import Ticket
from trainables.outcome import TOGETHER

TICKET = "_ticket"
SLOT = "_slot"

TRIALS_PER_SLOT = 2
"""One runs and one waits, so that a worker goes from one trial to the next without a pause."""


class LedgerSearcher(Searcher):
    """Hands the ledger's tickets to Tune; what came of them the callback tells the ledger.

    A trial of Tune's is one of ours, or as many as `fuse` that share its place.
    """

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its Tuner for `Tuner.restore`, which is never used here.
        return {}

    def __init__(self, ledger: Ledger, allotment: Allotment) -> None:
        super().__init__(metric="_", mode="min")
        self._ledger = ledger
        self._fuse = allotment.fuse
        # Where there is room for it, a trial that waits would be given a worker of its own.
        self._most = 1 if allotment.bounded else TRIALS_PER_SLOT
        self.slots = allotment.workers
        self._tickets: dict[str, tuple[list[Ticket], int]] = {}
        self._load: Counter[int] = Counter()
        self.about_to_start: Counter[int] = Counter()
        """How many trials of each slot were handed out that do not run yet."""
        self.running: set[str] = set()
        self.closing = False
        self.failure: Exception | None = None
        """What keeps the ledger from going on. Raised here it would take Tune down with its running
        trials; the callback stops the run in order instead."""

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if self._ledger.exhausted or self.closing:
            return Searcher.FINISHED
        if self._ledger.suspicion.cause is not None:
            return None  # until a running trial ends otherwise, or the last one has ended
        # Drawing a slot's next trial must not keep its worker from its present one, and a slot that
        # waits for a machine must not keep the others from their next ones.
        idle = (slot for slot in range(self.slots) if not self.about_to_start[slot])
        slot = min(idle, key=self._load.__getitem__, default=None)
        if slot is None or self._load[slot] >= self._most:
            return None
        try:
            tickets = self._draw()
        except Exception as error:
            self.failure = error
            return None
        if not tickets:
            return None
        self._tickets[trial_id] = (tickets, slot)
        self._load[slot] += 1
        self.about_to_start[slot] += 1
        configs = [{**ticket.hyperparameters, "seed": ticket.seed} for ticket in tickets]
        what = configs[0] if self._fuse == 1 else {TOGETHER: configs}
        return {**what, SLOT: slot, TICKET: tickets[0].number}

    def _draw(self) -> list[Ticket]:
        tickets: list[Ticket] = []
        while len(tickets) < self._fuse and (ticket := self._ledger.ask()) is not None:
            tickets.append(ticket)
        return tickets

    def tickets(self, trial_id: str) -> list[Ticket]:
        """What this trial of Tune's is to settle; nothing if it is over."""
        return self._tickets.get(trial_id, ([], 0))[0]

    def begin(self, trial_id: str) -> None:
        """This trial runs from here on."""
        if trial_id not in self.running:
            self.running.add(trial_id)
            self.about_to_start[self._tickets[trial_id][1]] -= 1

    def forget(self, trial_id: str) -> tuple[list[Ticket], int]:
        """This trial is over: its tickets and its slot. Of one that was forgotten, no tickets."""
        if trial_id not in self._tickets:
            return [], 0
        tickets, slot = self._tickets.pop(trial_id)
        self._load[slot] -= 1
        if trial_id in self.running:
            self.running.remove(trial_id)
        else:
            self.about_to_start[slot] -= 1
        return tickets, slot

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The callback does this, which also learns why a trial failed."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Studies are continued from the ledger, never from Tune's own state."""
