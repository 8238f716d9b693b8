"""Datasets in a `.npz` file: arrays, and the names of classes where they are given. NumPy only."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.classes import checked_names, numbered
from trainables.data.raw import Raw
from trainables.errors import DataError, one_line


def read_npz(dataset: str, path: Path) -> Raw:
    """Read `x_train`, `y_train`, `x_test`, `y_test` and, if it is there, `classes`.

    Raises DataError, in one line, for what cannot be read or is no dataset.
    """
    wanted = ("x_train", "y_train", "x_test", "y_test")
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise ValueError("it is no zip of arrays, as np.savez writes it")
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in wanted if name not in file.files]
            if missing:
                raise DataError(
                    f"{path}: missing {', '.join(missing)}; a .npz dataset holds "
                    f"{', '.join(wanted)} (found: {', '.join(file.files) or 'nothing'})"
                )
            arrays: dict[str, Any] = {name: _array(file, name) for name in wanted}
            names = _array(file, "classes") if "classes" in file.files else None
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:
        raise DataError(f"{path}: cannot be read as .npz ({one_line(error)})") from None
    for part in ("train", "test"):
        _check_arrays(path, part, arrays[f"x_{part}"], arrays[f"y_{part}"])
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise DataError(
            f"{path}: x_train images are {arrays['x_train'].shape[1:]}, "
            f"x_test images {arrays['x_test'].shape[1:]}; they must be alike"
        )
    labels = np.unique(arrays["y_train"])
    if len(labels) < 2 or not np.array_equal(labels, np.arange(len(labels))):
        raise DataError(
            f"{path}: y_train holds labels {labels.min()} to {labels.max()} "
            f"({len(labels)} different); labels must be 0, 1, ..., K-1 with every one present "
            "and at least two classes"
        )
    if not np.isin(arrays["y_test"], labels).all():
        raise DataError(f"{path}: y_test holds labels that y_train does not have")
    for part in ("y_train", "y_test"):  # which NumPy counts in signed ones only
        if arrays[part].dtype == np.uint64:
            arrays[part] = arrays[part].astype(np.int64)
    return Raw(dataset, **arrays, classes=_names(path, names, len(labels)))


def _array(file: Any, name: str) -> np.ndarray:
    """An array of an open `.npz`. Raises ValueError and what NumPy raises."""
    try:
        found = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError(
            f"{name} holds Python objects; save it as numbers, or names with dtype=str"
        ) from None
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{name} is no array")
    return found


def _names(path: Path, found: np.ndarray | None, count: int) -> tuple[str, ...]:
    if found is None:
        return numbered(count)
    if found.ndim != 1:
        raise DataError(f"{path}: classes has shape {found.shape}; one name per label is needed")
    if len(found) != count:
        raise DataError(f"{path}: {len(found)} names in classes for {count} labels")
    return checked_names(path, found.tolist())


def _check_arrays(path: Path, part: str, images: np.ndarray, labels: np.ndarray) -> None:
    if images.ndim not in (3, 4) or (
        images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] not in (1, 3)
    ):
        raise DataError(
            f"{path}: x_{part} has shape {images.shape}; possible: (n, h, w), (n, h, w, c) or "
            "(n, c, h, w) with 1 or 3 channels"
        )
    if images.size == 0:
        raise DataError(f"{path}: x_{part} has shape {images.shape}; at least one pixel is needed")
    if labels.ndim != 1 or len(labels) != len(images) or len(labels) == 0:
        raise DataError(
            f"{path}: y_{part} has shape {labels.shape} for {len(images)} images; "
            "one label per image is needed, and at least one image"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: y_{part} is {labels.dtype}; labels must be integers")
    if images.dtype == np.uint8:
        return
    if not np.issubdtype(images.dtype, np.floating) or not np.isfinite(images).all():
        raise DataError(
            f"{path}: x_{part} is {images.dtype}; possible: uint8, or finite floats in "
            "[0, 1] or [-1, 1]"
        )
    if images.min() < -1 or images.max() > 1:
        raise DataError(
            f"{path}: x_{part} ranges from {images.min():g} to {images.max():g}; floats must lie "
            "in [0, 1] or [-1, 1] (or use uint8)"
        )
