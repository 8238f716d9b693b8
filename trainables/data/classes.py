"""Classes by number and by name: what a request means, and how a class is shown.

A whole number is an index, from 0; a string is a name. So it is in files, in Python and in what is
stored, and what was resolved stays what it is. Words of a command line are of no type: there alone
a name goes before a number, once (`typed`). Names are equal that are so in one Unicode form (NFC)
and without spaces at their ends; one that is exactly the same goes before.
"""

from __future__ import annotations

import difflib
import operator
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from trainables.errors import DataError, InvalidRequest

MOST_LISTED = 12
"""Classes that a line names before it ends in dots."""

_NUMBER = re.compile(r"-?[0-9]{1,18}")


def numbered(count: int) -> tuple[str, ...]:
    """The names of classes that have none: their numbers."""
    return tuple(map(str, range(count)))


def same(name: str) -> str:
    """The form in which names are compared."""
    return unicodedata.normalize("NFC", name).strip()


def checked_names(where: object, found: Iterable[object]) -> tuple[str, ...]:
    """Class names as they were found in a dataset, bytes as the UTF-8 text that they are.

    Raises DataError, in one line that begins with `where`, for what is no text and for classes
    that have one name.
    """
    names = tuple(_text(where, name) for name in found)
    alike: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        alike[same(name)].append(index)
    doubled = [", ".join(short(i, names) for i in part) for part in alike.values() if part[1:]]
    if doubled:
        raise DataError(
            f"{where}: classes must differ in their names, but for spaces at the ends and the "
            f"Unicode form; alike are {'; '.join(_cut(doubled))}"
        )
    return names


def index_of(item: object, names: Sequence[str], whose: str) -> int:
    """The index of a class: a whole number is one, a string is a name.

    Raises InvalidRequest, in one line, for what is neither and for a class that is not there.
    """
    if isinstance(item, str):
        return _named(item, names, whose)
    try:
        if isinstance(item, bool):
            raise TypeError
        number = operator.index(item)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidRequest(
            f"{item!r} is no class of {whose}: give a whole number, which is an index, or a name"
        ) from None
    if 0 <= number < len(names):
        return number
    named = str(number) in map(same, names)
    hint = f"; the class that is named so is {str(number)!r}, a string" if named else ""
    raise InvalidRequest(
        f"class {number} is out of range: {whose} has classes 0 to {len(names) - 1}{hint}"
    )


def indices_of(wanted: Iterable[object], names: Sequence[str], whose: str) -> tuple[int, ...]:
    """Indices of the classes to forget, sorted, each once; of indices they are these very ones.

    Raises InvalidRequest as `index_of` does, and for no class at all and for all of them at once
    (nothing would be left to retain).
    """
    found = sorted({index_of(item, names, whose) for item in wanted})
    if not found:
        raise InvalidRequest(
            f"no forget class given; name at least one class of {whose} ({listing(names)})"
        )
    if len(found) >= len(names):
        raise InvalidRequest(
            f"the forget classes are all {len(names)} classes of {whose}; at least one class must "
            "be retained"
        )
    return tuple(found)


def typed(words: Iterable[str], names: Sequence[str]) -> list[int | str]:
    """Words of a command line as names and indices: one that is a class' name is that name, else
    one of digits is an index."""
    known = {same(name) for name in names}
    return [
        int(word) if same(word) not in known and _NUMBER.fullmatch(word.strip()) else word
        for word in words
    ]


def short(label: int, names: Sequence[str] = ()) -> str:
    """`1 ('2')`: a class' number and name, or its number alone where that is the name or no name is
    known. In one line, whatever the name holds."""
    if label >= len(names) or names[label] == str(label):
        return str(label)
    return f"{label} ({names[label]!r})"


def labelled(labels: Iterable[int], names: Sequence[str] = ()) -> str:
    """`class 1 ('2')`, `classes 1 ('2') and 3 ('4')`, `classes 0, 1 and 2`."""
    *others, last = (short(label, names) for label in labels)
    return f"classes {', '.join(others)} and {last}" if others else f"class {last}"


def listing(names: Sequence[str]) -> str:
    """The classes that there are, for an error's line."""
    return ", ".join(_cut([short(label, names) for label in range(len(names))]))


def _cut(parts: list[str]) -> list[str]:
    return parts if len(parts) <= MOST_LISTED else [*parts[:MOST_LISTED], "..."]


def _named(text: str, names: Sequence[str], whose: str) -> int:
    found = [label for label, name in enumerate(names) if name == text]
    found = found or [label for label, name in enumerate(names) if same(name) == same(text)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(short(label, names) for label in found)
        raise InvalidRequest(f"{text!r} names several classes of {whose}: {several}; give a number")
    close = difflib.get_close_matches(text, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if _NUMBER.fullmatch(text.strip()) and 0 <= int(text) < len(names):
        hint = f"; a string is a name: the class of this index is {int(text)}, without quotes"
    raise InvalidRequest(f"unknown class of {whose} {text!r}{hint} (possible: {listing(names)})")


def _text(where: object, name: object) -> str:
    try:
        text = name.decode("utf-8") if isinstance(name, bytes) else str(name)
        text.encode("utf-8")  # the name of a folder may be none
    except UnicodeError:
        raise DataError(f"{where}: the class name {name!r} is not UTF-8 text") from None
    return text
