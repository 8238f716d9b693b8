"""Whether the trials of a run fail for a cause that all of them share.

A worker that cannot import, data that is gone, a method's bug: each crashes every trial alike, and
a study whose trials had all settled so would be of no use to anybody. So trials that crash before
any other of the same run has ended otherwise are held back, and enough of one cause end the run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from search.ledger.ticket import Ticket
from trainables.outcome import Outcome

MOST_UNLIKE = 10
"""Crashed trials that are held back while no cause is shared: more, and they are what they are."""


@dataclass(frozen=True)
class Held:
    """A trial that crashed. `among` names those that it shared its steps with, which count as one;
    `begun` says whether it had begun, or its worker could not be set up for it."""

    ticket: Ticket
    outcome: Outcome
    among: str
    begun: bool = True


class Suspicion:
    """The crashed trials of one run that are held back.

    `cause` is the reason of the latest of `enough` that crashed alike, None while there are fewer;
    0 holds none back.
    """

    def __init__(self, enough: int) -> None:
        self.cause: str | None = None
        self._enough = enough
        self._over = enough == 0
        self._held: list[Held] = []
        self._alike: dict[str, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, crashed: Held) -> bool:
        """Whether this trial is held back; if not, it is to settle."""
        if self._over:
            return False
        self._held.append(crashed)
        reason = crashed.outcome.reason or "no reason"
        crashes = self._alike[alike(reason)]
        crashes.add(crashed.among)
        if len(crashes) >= self._enough:
            self.cause = reason
        return True

    @property
    def hopeless(self) -> bool:
        """Whether so many crashed that a cause which they share would have shown."""
        return self.cause is None and sum(map(len, self._alike.values())) >= MOST_UNLIKE

    def lift(self) -> list[Held]:
        """There is no cause that all trials share; those that were held back, which are to settle.
        None is held back from here on."""
        held, self._held = self._held, []
        self._over, self.cause = True, None
        return held

    def refusal(self) -> str:
        """The line that ends a run for the one cause."""
        return (
            f"{len(self)} trials crashed before any had ended otherwise: {self.cause}; they have "
            "not settled: mend that, and the same command goes on (--give-up-after 0 settles them "
            "as they are)"
        )


def alike(reason: str) -> str:
    """A reason without what differs from trial to trial: words with digits in them, such as
    addresses, sizes, numbers of processes and names of temporary files."""
    return re.sub(r"\S*\d\S*", "#", reason)
