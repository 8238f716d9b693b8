"""What a run shows while it goes: a live line on a terminal, sparse plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from search.analysis.best import figures
from search.ledger.ticket import Ticket
from search.store.results import Row
from search.store.status import failed
from trainables.outcome import State

QUIET_EVERY = 10.0
"""Seconds between lines when the output is not a terminal."""


def duration(seconds: float) -> str:
    """`7 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Shows preparation and trials on `console`; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._status = ""
        self._last_line = 0.0
        self._running: set[int] = set()
        self._held: set[int] = set()
        self._failed = self._pruned = 0
        self._best: Row | None = None
        self._done = self._target = self._new = 0
        self._saved = 0.0
        self._since = 0.0
        self._news: Callable[[], Sequence[str]] = tuple

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def listen(self, news: Callable[[], Sequence[str]]) -> None:
        """Say the lines that `news` gives, now and then."""
        self._news = news

    def hear(self) -> None:
        """Say what is new."""
        for line in self._news():
            self.say(line)

    def doing(self, text: str) -> None:
        """What is going on now; replaces what was shown before."""
        self._show(text, always=True)

    def prepared(self, name: str, found: dict[str, Any], done: int, total: int) -> None:
        """One part of the preparation is there."""
        if found["note"]:
            self.say(f"damaged: {found['note']}")
        self.say(
            f"prepared {done}/{total}: {name} ({found['origin']} in {duration(found['seconds'])})"
        )

    def begin(self, rows: Sequence[Row], target: int) -> None:
        """Trials start; `rows` had settled before."""
        self._target, self._done = target, len(rows)
        counts = Counter(row["state"] for row in rows)
        self._failed, self._pruned = failed(counts), counts[State.PRUNED]
        self._since = time.monotonic()
        for row in rows:
            self._consider(row)
        self._refresh(always=True)

    def started(self, ticket: Ticket) -> None:
        if not self._new and not self._running:
            self._since = time.monotonic()  # time left is told from trials, not from Ray's start
        self._running.add(ticket.number)
        self._refresh()

    def ended(self, ticket: Ticket) -> None:
        """It runs no more; its row follows."""
        self._running.discard(ticket.number)

    def settled(self, row: Row) -> None:
        self._running.discard(row["number"])
        self._done += 1
        self._new += 1
        self._saved += row.get("saved_seconds") or 0.0
        if row["state"] == State.PRUNED:
            self._pruned += 1
        elif row["state"] != State.COMPLETE:
            self._failed += 1
            if row["number"] not in self._held:
                self.say(f"trial {row['number']} {row['state']}: {row['reason']}")
        self._held.discard(row["number"])
        self._consider(row)
        self._refresh()

    def held(self, ticket: Ticket, reason: str) -> None:
        """It crashed, as all trials so far, and has not settled."""
        self._running.discard(ticket.number)
        self._held.add(ticket.number)
        self.say(f"trial {ticket.number} {State.CRASHED}: {reason}")
        self._refresh()

    def retried(self, ticket: Ticket, reason: str) -> None:
        self._running.discard(ticket.number)
        self._held.discard(ticket.number)
        self.say(f"trial {ticket.number} lost its worker and is run again ({reason[:100]})")

    def closing(self, running: int, why: str) -> None:
        """No more trials begin; `running` are waited for."""
        self.say(f"{why}: finishing {running} running trials")

    def end(self) -> None:
        """Trials are over; says what keeping workers between them spared, if that is much."""
        if self._saved >= 1:
            self.say(
                f"workers that stayed warm saved {duration(self._saved)} of setting up and of "
                "drawing samples"
            )

    def tick(self) -> None:
        """Called often; says what is new and keeps the time on a terminal current."""
        self.hear()
        self._refresh()

    def _consider(self, row: Row) -> None:
        if row["state"] == State.COMPLETE and (
            self._best is None or figures(row).gap < figures(self._best).gap
        ):
            self._best = row

    def _refresh(self, always: bool = False) -> None:
        parts = [f"{self._done}/{self._target} trials", f"{len(self._running)} running"]
        if self._pruned:
            parts.append(f"{self._pruned} pruned")
        if self._failed or self._held:
            parts.append(f"{self._failed + len(self._held)} failed")
        if self._best is not None:
            best = figures(self._best)
            parts.append(
                f"best gap {best.gap:.1f} (forget {best.forget:.1f} %, "
                f"retain {best.retain:.1f} %, trial {self._best['number']})"
            )
        left = self._target - self._done
        if self._new and left > 0:
            spent = time.monotonic() - self._since
            parts.append(f"{duration(spent / self._new * left)} left")
        self._show(", ".join(parts), always)

    def _show(self, text: str, always: bool = False) -> None:
        if self._live is not None:
            self._live.update(Text(text))
            return
        now = time.monotonic()
        if text != self._status and (always or now - self._last_line >= QUIET_EVERY):
            self._status, self._last_line = text, now
            self.say(text)
