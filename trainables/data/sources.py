"""Datasets as they are read: by name, from a `.npz` file or from a folder of images. NumPy only.

Nothing here imports torch, so that listing datasets and checking a request cost nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.classes import numbered
from trainables.data.folders import read_folder
from trainables.data.npz import read_npz
from trainables.data.raw import Raw as Raw
from trainables.errors import DataError, InvalidRequest, one_line, unknown

SPLIT_SEED = 42
"""Seed of the validation split, as in the thesis' scripts."""


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
        return Source("your own arrays", lambda name, _: read_npz(name, path))
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"dataset {name!r} cannot be read ({one_line(error)})") from None
    if folder:
        return Source("your own images", lambda name, _: read_folder(name, path))
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
