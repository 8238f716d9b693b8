"""Datasets as they are read: by name, from a `.npz` file or from a folder of images. NumPy only.

Nothing here imports torch, so that listing datasets and checking a request cost nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.classes import checked_names, indices_of, labelled, numbered
from trainables.data.folders import read_folder
from trainables.errors import DataError, InvalidRequest, one_line, unknown

SPLIT_SEED = 42
"""Seed of the validation split, as in the thesis' scripts."""


@dataclass(frozen=True)
class Raw:
    """A dataset as it was read.

    Images are uint8, or floats in [0, 1] or [-1, 1], shaped (n, h, w), (n, h, w, c) or
    (n, c, h, w); labels are integers from 0. `train_paths` are those of the training images below
    train/, where they come from a folder; `notes` are lines, for people, about what was found and
    not read.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    train_paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that follow from every image and label."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width in pixels)."""
        channels, height, width = channels_first(self.x_train[:1]).shape[1:]
        return channels, height, width

    def resolve_classes(self, wanted: Iterable[str | int]) -> tuple[int, ...]:
        """Class indices, sorted: a whole number is an index, a string is a name.

        Raises InvalidRequest for an unknown class, a class without test images, no class at all,
        or all classes at once (nothing would be left to retain).
        """
        found = indices_of(wanted, self.classes, self.name)
        for index in found:
            if not (self.y_test == index).any():
                raise InvalidRequest(
                    f"{labelled([index], self.classes)} of {self.name} has no test images, "
                    "so forgetting it could not be measured"
                )
        return found


def channels_first(images: np.ndarray) -> np.ndarray:
    """Images (n, h, w), (n, h, w, c) or (n, c, h, w) as (n, c, h, w); c is 1 or 3."""
    if images.ndim == 3:
        return images[:, None]
    if images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        return images.transpose(0, 3, 1, 2)
    return images


@dataclass(frozen=True)
class Source:
    """A dataset known by name, and the defaults that suit it.

    `validation_fraction` is a share (0 to 1) of the training images, more where classes are small
    (`trainables.data.splits`), `width` the factor of
    AllCNN, `gan_steps` how long a class' GAN trains, `samples_per_class` the most synthetic
    samples of a class that a search should draw, `forget` the thesis' class to forget, if any.
    """

    about: str
    read: Callable[[str, Path], Raw]
    validation_fraction: float = 0.05
    width: float = 1.0
    gan_steps: int = 5_000
    samples_per_class: int = 10_000
    forget: int | None = None


def stratified(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Boolean mask (n,) that holds out `fraction` of every class, at least one sample of each."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held_out[members[: max(1, round(fraction * len(members)))]] = True
    return held_out


def source(name: str) -> Source:
    """The source of a dataset: a known name, a `.npz` file or a folder of images.

    Raises InvalidRequest for an unknown name and DataError for a path that is not there.
    """
    if name in SOURCES:
        return SOURCES[name]
    path = Path(os.path.expanduser(name))
    if path.suffix.lower() == ".npz":
        return Source("your own arrays", lambda name, _: _read_npz(name, path))
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"dataset {name!r} cannot be read ({one_line(error)})") from None
    if folder:
        return Source("your own images", lambda name, _: _read_folder(name, path))
    if there or "/" in name:
        raise DataError(f"dataset {name!r} is neither a folder of images nor a .npz file")
    raise InvalidRequest(
        unknown("dataset", name, SOURCES, "forgetune datasets")
        + "; or give the path of a .npz file or of a folder with train/ and test/"
    )


@lru_cache(maxsize=1)
def read(name: str, root: Path) -> Raw:
    """Read a dataset, downloading into `root` what torchvision can fetch; read once per process.

    Raises InvalidRequest for an unknown name and DataError for what cannot be read.
    """
    return source(name).read(name, root)


def _read_digits(name: str, _: Path) -> Raw:
    # The file of scikit-learn's `load_digits`; importing scikit-learn takes each process seconds.
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    images = (images / 16).astype(np.float32)
    test = stratified(labels, 0.25, SPLIT_SEED)
    return Raw(name, images[~test], labels[~test], images[test], labels[test], numbered(10))


def _torchvision(
    class_name: str, files: str, splits: tuple[dict[str, Any], dict[str, Any]]
) -> Callable[[str, Path], Raw]:
    """A reader of a torchvision dataset that downloads what is missing."""

    def fetch(name: str, root: Path) -> Raw:
        import torchvision

        kind = getattr(torchvision.datasets, class_name)

        def sets(download: bool) -> list[Any]:
            # torchvision reports on standard output, which belongs to our results.
            with contextlib.redirect_stdout(sys.stderr):
                return [kind(root=str(root), download=download, **split) for split in splits]

        try:
            train, test = sets(download=False)
        except RuntimeError:
            try:
                root.mkdir(parents=True, exist_ok=True)
                train, test = sets(download=True)
            except Exception as error:  # torchvision raises many kinds for "no network"
                raise DataError(
                    f"{class_name} is not in {root} (looked for {files}) and could not be "
                    f"downloaded ({one_line(error)}); put the files there or choose another "
                    "folder with --data"
                ) from None
        except Exception as error:
            raise DataError(f"{class_name} in {root} cannot be read: {one_line(error)}") from None
        names = getattr(train, "classes", None) or [str(i) for i in range(10)]
        return Raw(name, *_arrays(train), *_arrays(test), tuple(str(item) for item in names))

    def _arrays(part: Any) -> tuple[np.ndarray, np.ndarray]:
        labels = part.labels if hasattr(part, "labels") else part.targets
        return np.asarray(part.data), np.asarray(labels)

    return fetch


_TRAIN_FLAG: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})

SOURCES: dict[str, Source] = {
    "digits": Source(
        "1,797 grey 8x8 handwritten digits, inside scikit-learn",
        _read_digits,
        validation_fraction=0.2,
        width=0.25,
        gan_steps=1_000,
        samples_per_class=700,
        forget=3,
    ),
    "mnist": Source(
        "70,000 grey 28x28 digits",
        _torchvision("MNIST", "MNIST/raw/*-ubyte", _TRAIN_FLAG),
        forget=3,
    ),
    "fashion-mnist": Source(
        "70,000 grey 28x28 garments",
        _torchvision("FashionMNIST", "FashionMNIST/raw/*-ubyte", _TRAIN_FLAG),
        forget=3,
    ),
    "cifar10": Source(
        "60,000 colour 32x32 images, 10 classes",
        _torchvision("CIFAR10", "cifar-10-batches-py/*_batch*", _TRAIN_FLAG),
        forget=3,
    ),
    "cifar100": Source(
        "60,000 colour 32x32 images, 100 classes",
        _torchvision("CIFAR100", "cifar-100-python/train and test", _TRAIN_FLAG),
        validation_fraction=0.1,  # its classes have 500 images
        forget=82,
    ),
    "svhn": Source(
        "99,289 colour 32x32 house numbers",
        _torchvision(
            "SVHN", "train_32x32.mat and test_32x32.mat", ({"split": "train"}, {"split": "test"})
        ),
        forget=3,
    ),
}


def _read_npz(dataset: str, path: Path) -> Raw:
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


def _read_folder(dataset: str, path: Path) -> Raw:
    found = read_folder(path)
    return Raw(**{**vars(found), "name": dataset})
