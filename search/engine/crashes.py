"""What keeps a trial's worker from giving a result, as Ray Tune 2.60 tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment.trial import Trial

MOST = 400
"""Characters of a reason."""

ERROR, HANDLER = "_ended_in", "handle_error"
"""Attributes of Tune's trials: of ours, which holds the error, and of theirs, which is told it."""

FRAME = '  File "'
"""What each frame of a traceback begins with."""


@dataclass(frozen=True)
class Crash:
    """`reason` is one line; `raised` says that the worker raised an exception, as it may well do
    again, and did not die."""

    reason: str
    raised: bool


@contextmanager
def errors_kept() -> Iterator[None]:
    """In the body, trials of Tune's keep the error that they ended in, for `crash_of`.

    Tune gives it to nobody: it writes a pickle, which would have to be unpickled.
    """
    handle: Any = Trial.handle_error

    def keep(trial: Trial, exc: Any = None) -> None:
        vars(trial)[ERROR] = exc
        handle(trial, exc)

    setattr(Trial, HANDLER, keep)
    try:
        yield
    finally:
        setattr(Trial, HANDLER, handle)


def crash_of(trial: Any) -> Crash:
    """Why a trial of Tune's ended in an error."""
    error = vars(trial).pop(ERROR, None)
    if error is None:
        return Crash(_line(""), raised=False)
    if isinstance(error, RayTaskError):
        cause = error.cause
        # Of what another process did (died, lost an object) its own exception tells.
        said = f"{type(cause).__name__}: {cause}"
        return Crash(_line(said), raised=not isinstance(cause, RayError))
    text = str(error)
    if FRAME in text and (not isinstance(error, RayActorError) or error.actor_init_failed):
        return Crash(_raised(text), raised=True)
    # Ray tells names and numbers of the process between tabs.
    told = [line for line in text.splitlines() if not line.startswith("\t")]
    return Crash(_line(f"{type(error).__name__}: {' '.join(told)}"), raised=False)


def _raised(text: str) -> str:
    """The exception that a traceback ends in; its message may have several lines."""
    lines = text.rstrip().splitlines()
    frames = [index for index, line in enumerate(lines) if line.startswith(FRAME)]
    rest = lines[frames[-1] + 1 :] if frames else lines
    # Under a frame stand its line of code and what Python points at in it.
    while len(rest) > 1 and rest[0].startswith("    "):
        rest = rest[1:]
    return _line(re.sub(r"^(\w+\.)+(?=\w+:)", "", " ".join(rest)))


def _line(text: str) -> str:
    return (" ".join(text.split()) or "no message")[:MOST]
