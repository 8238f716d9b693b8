"""A trial to be run, as the ledger hands it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ticket:
    """A trial to be run: its number, which attempt this is (from 1), what to run it with, and when
    it was handed out (seconds since 1970; None: not yet). `first` is the attempt with which it was
    asked for, from which its retries count."""

    number: int
    attempt: int
    hyperparameters: dict[str, Any]
    seed: int
    asked: float | None = field(default=None, compare=False)
    first: int = 1
