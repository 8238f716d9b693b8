"""What a trial costs: seconds, which can be limited, and memory."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainables.errors import TrialTimeout


@contextmanager
def stopwatch(costs: dict[str, float], name: str, device: torch.device) -> Iterator[None]:
    """Add the seconds that the body takes to `costs[name]`."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    started = now()
    try:
        yield
    finally:
        costs[name] = costs.get(name, 0.0) + now() - started


class TimeLimit:
    """Raises TrialTimeout in the bodies of `with`, once they have run for `seconds` in all.

    By an alarm, which reaches a method wherever it is in Python code, so methods need not look at
    a clock. Alarms exist in the main thread only; elsewhere a trial runs without a limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._left = seconds

    def __enter__(self) -> None:
        self._on = self._left is not None and threading.current_thread() is threading.main_thread()
        if not self._on:
            return
        assert self._left is not None
        if self._left <= 0:
            self._on = False
            self._ring()
        self._started = time.monotonic()
        self._previous = signal.signal(signal.SIGALRM, self._ring)
        self._others = signal.setitimer(signal.ITIMER_REAL, self._left)[0]

    def __exit__(self, *_: object) -> None:
        if not self._on:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._previous)
        taken = time.monotonic() - self._started
        assert self._left is not None
        self._left -= taken
        if self._others:  # an alarm of the caller's own goes on, late rather than never
            signal.setitimer(signal.ITIMER_REAL, max(self._others - taken, 1e-3))

    def _ring(self, *_: object) -> None:
        raise TrialTimeout(f"the trial ran longer than {self._seconds:g} s")


def device_name(device: torch.device) -> str:
    """A GPU's, as its maker calls it; "cpu" otherwise."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_memory_mb(device: torch.device) -> float | None:
    """The most that was held of a GPU's memory since that was last reset, in MB; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device) / 1e6


def device_memory_mb(device: torch.device) -> float | None:
    """All of a GPU's memory, in MB; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.get_device_properties(device).total_memory / 1e6
