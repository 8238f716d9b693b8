"""Errors that a person can act on.

Everything raised on purpose derives from `ForgetuneError`; its message is one line that says what
was wrong and what is possible, and the command line prints it without a traceback.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable


class ForgetuneError(Exception):
    """Base of all errors raised on purpose."""


class InvalidRequest(ForgetuneError, ValueError):
    """The user asked for something that does not exist or cannot be done."""


class DataError(InvalidRequest):
    """A dataset is missing, unreadable or malformed."""


class AccessDenied(ForgetuneError):
    """A method reached for something that it does not declare in `needs`."""


class Diverged(ForgetuneError):
    """A loss or a weight became non-finite."""


class TrialTimeout(ForgetuneError):
    """A trial ran longer than it was allowed to."""


class TrialFailed(ForgetuneError):
    """A trial ended in another state than `complete`, told to a Tuner that we did not write."""


class TooFewSamples(ForgetuneError):
    """Generators gave a method too few samples of a class to work with."""


class GeneratorError(ForgetuneError):
    """A generator collapsed in training, or cannot deliver samples that pass the classifier."""


def unknown(kind: str, name: object, options: Iterable[object], see: str = "") -> str:
    """One line for an unknown name: what it was, the nearest match, what exists."""
    known = [str(option) for option in options]
    told = shortened(str(name))
    if not known:
        return f"unknown {kind} {told} (there are none)"
    close = difflib.get_close_matches(str(name)[:MOST_SHOWN], known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listing = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    where = f", see `{see}`" if see else ""
    return f"unknown {kind} {told}{hint} (possible: {listing}{where})"


MOST_SHOWN = 120
"""Characters of a value that an error shows."""


def shortened(value: object) -> str:
    """`repr` of what was given, whatever that is, in one line that can be read."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxlong = brief.maxother = MOST_SHOWN
    try:
        return brief.repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        return "a number of thousands of digits"


def one_line(error: BaseException) -> str:
    """What an error of others says, in a line that can be read."""
    return " ".join(str(error).split())[:200] or type(error).__name__
