"""Which images are for validation: a share of the training images, those that a file lists, or half
of the test images. NumPy only, and no image is looked at.

What was trained elsewhere may have seen every training image, so there it is half of the test
images, unless the user says what was held out.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.classes import labelled
from trainables.data.raw import Raw
from trainables.data.sources import SPLIT_SEED, stratified
from trainables.errors import DataError

LARGE, ENOUGH, SMALL_SHARE = 500, 50, 0.2
"""Of a class with 500 training images or more at least 50 are for validation, of others a fifth."""

FEW = 20
"""With fewer validation images of a class its accuracy moves in steps of more than 5 points."""

SHOWN = 3
"""Wrong lines that an error names."""


@dataclass(frozen=True)
class HeldOut:
    """Indices of the training images that a file lists, ascending."""

    indices: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that follow from the indices, however they were written."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]

    def text(self) -> str:
        """A file that lists them."""
        return "".join(f"{index}\n" for index in self.indices)


def read_held_out(path: Path, raw: Raw) -> HeldOut:
    """What a text file lists: on each line the index of a training image, from 0, or, of a folder
    of images, its path below train/.

    Raises DataError, in one line, for a file that cannot be read and for lines that are unknown,
    doubled or empty, which it counts.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file (UTF-8) with a training image a line") from None
    if not lines[-1]:
        lines.pop()  # what follows the last line's end is no line
    known = {unicodedata.normalize("NFC", name): i for i, name in enumerate(raw.train_paths)}
    known |= {name: index for index, name in enumerate(raw.train_paths)}
    wrong: dict[str, list[str]] = {"unknown": [], "doubled": [], "empty": []}
    found: set[int] = set()
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        index = _index(line.removesuffix("\r"), known, len(raw.y_train))
        if not text:
            wrong["empty"].append(f"line {number}")
        elif index is None:
            wrong["unknown"].append(f"line {number}: {text[:60]!r}")
        elif index in found:
            wrong["doubled"].append(f"line {number}: {text[:60]!r}")
        else:
            found.add(index)
    if any(wrong.values()):
        counted = "; ".join(
            f"{len(each)} {kind} ({', '.join(each[:SHOWN])}{', ...' if len(each) > SHOWN else ''})"
            for kind, each in wrong.items()
            if each
        )
        below = " or a path below train/" if raw.train_paths else ""
        raise DataError(
            f"{path}: of {len(lines)} lines {counted}; each line is a training image of "
            f"{raw.name}, an index from 0 to {len(raw.y_train) - 1}{below}"
        )
    if not found:
        raise DataError(f"{path}: lists no training image")
    return HeldOut(tuple(sorted(found)))


def _index(line: str, known: dict[str, int], count: int) -> int | None:
    text = line.strip()
    for name in (line, text, unicodedata.normalize("NFC", text)):
        if name in known:
            return known[name]
    if text.isascii() and text.isdigit() and len(text) < 19 and int(text) < count:
        return int(text)
    return None


def suitable_fraction(labels: np.ndarray, least: float) -> float:
    """The share (0 to 1) of the training images, with these labels (n,), that gives each class
    enough validation images; `least` or more."""
    counts = np.unique(labels, return_counts=True)[1]
    needed = [ENOUGH / int(count) if count >= LARGE else SMALL_SHARE for count in counts]
    return max(least, *needed)


def for_validation(
    raw: Raw, fraction: float, source: str, held_out: HeldOut | None
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the training and of the test images, true where they are for validation.

    `source` is "training", of which a `fraction` (0 to 1) of each class is taken or what is
    `held_out`, or "test", of which half of each class is. Raises DataError where a class keeps too
    few training images.
    """
    training = np.zeros(len(raw.y_train), dtype=bool)
    test = np.zeros(len(raw.y_test), dtype=bool)
    what = ""
    if held_out is not None:
        training[list(held_out.indices)] = True
        what = f" to hold out {len(held_out.indices)} images in all"
    elif source == "test":
        test = stratified(raw.y_test, 0.5, SPLIT_SEED)
    else:
        training = stratified(raw.y_train, fraction, SPLIT_SEED)
        what = f" to hold out {fraction:.0%} of them"
    remaining = np.bincount(raw.y_train[~training], minlength=len(raw.classes))
    if remaining.min() < 2:
        index = int(remaining.argmin())
        raise DataError(
            f"{raw.name}: {labelled([index], raw.classes)} has too few training images "
            f"({int((raw.y_train == index).sum())}){what}; two must be left to train on"
        )
    return training, test


def check(
    raw: Raw,
    fraction: float,
    source: str,
    held_out: HeldOut | None,
    forget: Iterable[int],
) -> list[str]:
    """Lines on classes to be forgotten that have few validation images.

    Raises DataError as `for_validation` does, and where there are none to measure by: of each class
    to be forgotten, and of the others, validation and test must each have some.
    """
    training, test = for_validation(raw, fraction, source, held_out)
    forget = tuple(forget)
    kept = ~np.isin(np.arange(len(raw.classes)), forget)
    counts = {
        "validation": np.bincount(
            np.concatenate([raw.y_train[training], raw.y_test[test]]), minlength=len(raw.classes)
        ),
        "test": np.bincount(raw.y_test[~test], minlength=len(raw.classes)),
    }
    for part, count in counts.items():
        lacking = [index for index in forget if not count[index]]
        if not lacking and count[kept].any():
            continue
        who = (
            f"{labelled(lacking[:1], raw.classes)}, which is to be forgotten,"
            if lacking
            else "what is to be retained"
        )
        if held_out is not None and part == "validation":
            raise DataError(f"{raw.name}: {who} has no images among those held out")
        if source != "test":
            raise DataError(f"{raw.name}: {who} has no {part} images")
        raise DataError(
            f"{raw.name}: {who} has too few test images, of which validation takes half where the "
            "base model may have seen all training images; say which of these were held out "
            "(--held-out FILE, or --validation-from training)"
        )
    found = {index: int(counts["validation"][index]) for index in forget}
    return [
        f"validation has only {count} image{'s' * (count > 1)} of "
        f"{labelled([index], raw.classes)}: its forget accuracy goes in steps of "
        f"{100 / count:.0f} points"
        for index, count in found.items()
        if count < FEW
    ]
