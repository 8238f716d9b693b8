"""Folders of images, read as arrays: train/CLASS/IMAGE and test/CLASS/IMAGE. Pillow and NumPy only.

What is in such a folder and is not read is told, with its number, and never dropped in silence.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainables.data.classes import checked_names, same
from trainables.data.pictures import COMMON, pixels, suffixes
from trainables.data.raw import Raw
from trainables.errors import DataError, one_line

PARTS = ("train", "test")

NO_DATA = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"}
"""What systems leave in folders, besides hidden entries."""

MOST_NAMED = 4


@dataclass
class _Listing:
    """The images of each part with their labels, and what is no image."""

    images: dict[str, list[tuple[Path, int]]] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)
    nested: list[Path] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)


def read_folder(dataset: str, path: Path) -> Raw:
    """Read a folder of images. Every file of a kind that Pillow knows is read; hidden entries and
    those that systems leave behind are nothing.

    Images are turned as their EXIF data says. Grey ones stay grey, all others become RGB: palettes
    and CMYK are converted, and an alpha channel is dropped, which leaves the colours as they are
    stored. Raises DataError, in one line, for what cannot be read.
    """
    try:
        for part in PARTS:
            if not (path / part).is_dir():
                raise DataError(
                    f"{path}: no folder {part}/ in it; images are expected in "
                    "train/CLASS/*.png and test/CLASS/*.png"
                )
        classes, tested = (_classes(path / part) for part in PARTS)
        _check_classes(path, classes, tested)
        listing = _list(path, classes, tested)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)})") from None
    _check_images(path, classes, listing)
    arrays, moving = [], []
    first = listing.images["train"][0][0]
    shape = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of palettes and of large images
        for part in PARTS:
            images = []
            for file, _ in listing.images[part]:
                image, several = pixels(file)
                shape = shape or image.shape
                if image.shape != shape:
                    raise DataError(
                        f"{file}: {image.shape}, but {first.name} is {shape}; "
                        "all images must have one size and one colour mode"
                    )
                images.append(image)
                moving += [file] if several else []
            labels = [label for _, label in listing.images[part]]
            arrays += [np.stack(images), np.array(labels, dtype=np.int64)]
    notes = tuple(_notes(path, classes, listing, moving))
    x_train, y_train, x_test, y_test = arrays
    paths = (file.relative_to(path / "train").as_posix() for file, _ in listing.images["train"])
    return Raw(dataset, x_train, y_train, x_test, y_test, classes, tuple(paths), notes)


def _entries(folder: Path) -> list[Path]:
    """What a person put into a folder, in the order of names."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name.lower() not in NO_DATA
    )


def _classes(folder: Path) -> tuple[str, ...]:
    return checked_names(folder, [entry.name for entry in _entries(folder) if entry.is_dir()])


def _list(path: Path, classes: tuple[str, ...], tested: tuple[str, ...]) -> _Listing:
    found = _Listing(beside=[entry for entry in _entries(path) if entry.name not in PARTS])
    for part, names in zip(PARTS, (classes, tested), strict=True):
        found.loose += [entry for entry in _entries(path / part) if not entry.is_dir()]
        found.images[part] = []
        # One name may be written in two Unicode forms, as systems that packed the folders do it.
        folders = {same(name): path / part / name for name in names}
        for label, name in enumerate(classes):
            for entry in _entries(folders[same(name)]) if same(name) in folders else ():
                if entry.is_dir():
                    found.nested.append(entry)
                elif entry.suffix.lower() in suffixes() and _file(entry):
                    found.images[part].append((entry, label))
                else:
                    found.others.append(entry)
    return found


def _file(path: Path) -> bool:
    """A file, or a link to one that is gone, which reading tells; no pipe, which has no end."""
    return path.is_file() or not path.exists()


def _check_classes(path: Path, classes: tuple[str, ...], tested: tuple[str, ...]) -> None:
    known = set(map(same, classes))
    extra = sorted(name for name in tested if same(name) not in known)
    if extra:
        alike = {_plain(name): name for name in classes}
        twin = next((name for name in extra if _plain(name) in alike), None)
        if twin is not None:
            raise DataError(
                f"{path}: test/{twin} is written otherwise than train/{alike[_plain(twin)]} "
                "(in upper and lower case); a class has one name"
            )
        raise DataError(f"{path}: test/ has classes that train/ lacks: {_named(extra)}")
    if len(classes) < 2:
        raise DataError(
            f"{path}: train/ holds {len(classes)} class folders; at least two are needed"
        )


def _plain(name: str) -> str:
    return same(name).casefold()


def _check_images(path: Path, classes: tuple[str, ...], listing: _Listing) -> None:
    labels = {label for _, label in listing.images["train"]}
    for label, name in enumerate(classes):
        if label not in labels:
            inside = [entry.name for entry in listing.nested if entry.parent.name == name]
            hint = f"; folders in it are not read: {_named(inside)}" if inside else ""
            raise DataError(f"{path}: no images in train/{name} ({', '.join(COMMON)}, ...){hint}")
    if not listing.images["test"]:
        raise DataError(f"{path}: no images in test/")


def _notes(
    path: Path, classes: tuple[str, ...], listing: _Listing, moving: list[Path]
) -> Iterable[str]:
    where = f"{path.name or path}/"
    if listing.others:
        kinds = Counter(entry.suffix.lower() or "without suffix" for entry in listing.others)
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(MOST_NAMED))
        rest = len(kinds) - MOST_NAMED
        told += f", {rest} other kinds" if rest > 0 else ""
        yield f"{where}: {_files(listing.others)} left out ({told})"
    if listing.loose:
        told = f"{_files(listing.loose)} left out, in no class folder"
        yield f"{where}: {told} ({_within(path, listing.loose)})"
    if listing.nested:
        count = len(listing.nested)
        what = "a folder inside a class is" if count == 1 else f"{count} folders inside classes are"
        yield f"{where}: {what} not read ({_within(path, listing.nested)})"
    if listing.beside:
        yield f"{where}: beside train/ and test/, not read: {_within(path, listing.beside)}"
    if moving:
        told = f"of {_files(moving)} with several frames the first is taken"
        yield f"{where}: {told} ({_within(path, moving)})"
    cases: dict[str, list[str]] = {}
    for name in classes:
        cases.setdefault(_plain(name), []).append(name)
    for names in cases.values():
        if len(names) > 1:
            yield f"{where}: classes that differ in case alone: {', '.join(names)}"


def _files(files: list[Path]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _within(path: Path, entries: list[Path]) -> str:
    return _named([str(entry.relative_to(path)) for entry in entries])


def _named(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
