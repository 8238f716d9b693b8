"""Who is told how a study's trials go."""

from __future__ import annotations

from typing import Protocol

from search.ledger.ticket import Ticket
from search.store.results import Row


class Observer(Protocol):
    """Who wants to know how a study goes."""

    def started(self, ticket: Ticket) -> None: ...

    def ended(self, ticket: Ticket) -> None: ...

    def settled(self, row: Row) -> None: ...

    def retried(self, ticket: Ticket, reason: str) -> None: ...

    def held(self, ticket: Ticket, reason: str) -> None: ...

    def tick(self) -> None: ...

    def closing(self, running: int, why: str) -> None: ...

    def say(self, text: str) -> None: ...
