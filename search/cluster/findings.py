"""What a check has to say."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Literal

LEVELS = ("error", "warning", "ok")


@dataclass(frozen=True)
class Finding:
    """What was found, in one line: an "error" makes the cluster fail or opens it to others, a
    "warning" may cost money, data or time, "ok" is what was looked at and is right."""

    level: Literal["error", "warning", "ok"]
    text: str


def error(text: str) -> Finding:
    return Finding("error", line(text))


def warning(text: str) -> Finding:
    return Finding("warning", line(text))


def ok(text: str) -> Finding:
    return Finding("ok", line(text))


def line(text: object) -> str:
    """Anything as one printable line."""
    return "".join(filter(str.isprintable, " ".join(str(text).split())))


def short(value: object) -> str:
    """A value of the file, as far as it fits into a line."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 60
    return line(brief.repr(value))


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
