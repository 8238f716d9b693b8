"""What keeps a trial's worker from giving a result, as Ray Tune 2.60 tells it."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError

MOST = 400
"""Characters of a reason."""

FRAME = '  File "'
"""What each frame of a traceback begins with."""


@dataclass(frozen=True)
class Crash:
    """`reason` is one line; `raised` says that the worker raised an exception, as it may well do
    again, and did not die."""

    reason: str
    raised: bool


def crash_of(trial: Any) -> Crash:
    """Why a trial of Tune's ended in an error."""
    error = _error(trial)
    if error is None:
        text = _text(trial)
        return Crash(_raised(text), raised=FRAME in text)
    if isinstance(error, RayTaskError):
        cause = error.cause
        # Of what another process did (died, lost an object) its own exception tells.
        said = f"{type(cause).__name__}: {cause}"
        return Crash(_line(said), raised=not isinstance(cause, RayError))
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return Crash(_raised(str(error)), raised=True)
    # Ray tells names and numbers of the process between tabs.
    told = [line for line in str(error).splitlines() if not line.startswith("\t")]
    return Crash(_line(f"{type(error).__name__}: {' '.join(told)}"), raised=False)


def _error(trial: Any) -> Exception | None:
    """Tune's own `get_pickled_error` looks where the file is copied to later."""
    path = trial.pickled_error_file
    try:
        found = pickle.loads(Path(path).read_bytes()) if path else None
    except Exception:  # of a class that this process does not have
        return None
    return found if isinstance(found, Exception) else None


def _text(trial: Any) -> str:
    """What Tune writes beside it, for errors of every kind."""
    path = trial.error_file
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except OSError:
        return ""


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
