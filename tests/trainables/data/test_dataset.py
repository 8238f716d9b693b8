"""Splits, images as tensors, and batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.trainables.toys import rng
from trainables.data.dataset import Dataset, Samples, index_batches, load
from trainables.data.splits import HeldOut
from trainables.errors import DataError

Writer = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path) -> Writer:
    """Writes arrays as a .npz file; the same arrays for training and test unless given."""

    def write(x: np.ndarray, y: np.ndarray, **changes: Any) -> str:
        path = tmp_path / "own.npz"
        np.savez(path, **{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **changes})
        load.cache_clear()
        return str(path)

    return write


def numbered(count: int, first: int = 0) -> np.ndarray:
    """uint8 images (count, 4, 4), each with its own number in its first two pixels."""
    images = np.zeros((count, 4, 4), dtype=np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 0, 0], images[:, 0, 1] = numbers // 256, numbers % 256
    return images


def numbers(samples: Samples) -> list[int]:
    """The numbers in numbered images."""
    pixels = ((samples.images[:, 0, 0] + 1) / 2 * 255).round().long()
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()


class TestSplits:
    """Training, validation and test."""

    @pytest.fixture(params=[0.05, 0.2, 0.5])
    def dataset(self, request: pytest.FixtureRequest, save: Writer, tmp_path: Path) -> Dataset:
        """300 numbered training images, 30 test images; the label follows from the number."""
        labels = np.repeat([0, 1, 2], [50, 100, 150])
        path = save(numbered(300), labels, x_test=numbered(30, 300), y_test=np.arange(30) % 3)
        return load(path, tmp_path, request.param)

    def test_training_and_validation_are_the_training_set_once(self, dataset: Dataset) -> None:
        train, validation = numbers(dataset.train), numbers(dataset.validation)
        assert not set(train) & set(validation)
        assert sorted(train + validation) == list(range(300))

    def test_validation_holds_no_test_image(self, dataset: Dataset) -> None:
        assert numbers(dataset.test) == list(range(300, 330))
        assert not set(numbers(dataset.validation)) & set(numbers(dataset.test))

    def test_labels_stay_with_their_images(self, dataset: Dataset) -> None:
        for part in (dataset.train, dataset.validation):
            expected = [0 if n < 50 else 1 if n < 150 else 2 for n in numbers(part)]
            assert part.labels.tolist() == expected
        assert dataset.test.labels.tolist() == [n % 3 for n in range(30)]

    def test_the_split_is_the_same_each_time(self, dataset: Dataset, tmp_path: Path) -> None:
        fraction = len(dataset.validation) / 300
        load.cache_clear()
        again = load(dataset.name, tmp_path, fraction)
        assert torch.equal(again.validation.images, dataset.validation.images)


def test_validation_takes_its_share_of_every_class(save: Writer, tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [50, 100, 150])
    dataset = load(save(numbered(300), labels), tmp_path, 0.2)
    assert dataset.validation.labels.bincount().tolist() == [10, 20, 30]
    assert dataset.train.labels.bincount().tolist() == [40, 80, 120]


def test_half_of_the_test_images_are_for_validation_where_that_is_asked_for(
    save: Writer, tmp_path: Path
) -> None:
    labels = np.arange(30) % 3
    path = save(numbered(60), np.arange(60) % 3, x_test=numbered(30, 100), y_test=labels)
    dataset = load(path, tmp_path, 0.2, "test")
    assert numbers(dataset.train) == list(range(60)), "all that there is"
    validation, test = numbers(dataset.validation), numbers(dataset.test)
    assert sorted(validation + test) == list(range(100, 130)), "disjoint, and nothing is left over"
    assert dataset.validation.labels.bincount().tolist() == [5, 5, 5]
    for part in (dataset.validation, dataset.test):
        assert part.labels.tolist() == [(n - 100) % 3 for n in numbers(part)]
    assert load(path, tmp_path, 0.2, "training").test.labels.bincount().tolist() == [10, 10, 10]


def test_training_images_that_are_held_out_are_the_validation_images(
    save: Writer, tmp_path: Path
) -> None:
    path = save(numbered(60), np.arange(60) % 3, x_test=numbered(30, 100), y_test=np.arange(30) % 3)
    dataset = load(path, tmp_path, 0.2, "training", HeldOut((3, 7, 59)))
    assert numbers(dataset.validation) == [3, 7, 59]
    assert numbers(dataset.train) == [n for n in range(60) if n not in (3, 7, 59)]
    assert numbers(dataset.test) == list(range(100, 130))


def test_a_class_too_small_to_split_is_named(save: Writer, tmp_path: Path) -> None:
    labels = np.array([0] * 10 + [1] * 2)
    path = save(numbered(12), labels, classes=np.array(["cat", "dog"]))
    with pytest.raises(DataError, match=r"class 1 \('dog'\) has too few training images \(2\)"):
        load(path, tmp_path, 0.2)


def test_the_shape_is_channels_height_width(save: Writer, tmp_path: Path) -> None:
    images = np.zeros((8, 5, 7, 3), dtype=np.uint8)
    assert load(save(images, np.arange(8) % 2), tmp_path, 0.2).image_shape == (3, 5, 7)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "(n, h, w)": lambda images: images[:, 0],
    "(n, h, w, 1)": lambda images: images[:, :1].transpose(0, 2, 3, 1),
    "(n, 1, h, w)": lambda images: images[:, :1],
    "(n, h, w, 3)": lambda images: images.transpose(0, 2, 3, 1),
    "(n, 3, h, w)": lambda images: images,
}
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uint8": lambda pixels: pixels,
    "float64 in [0, 1]": lambda pixels: pixels / 255,
    "float32 in [0, 1]": lambda pixels: (pixels / 255).astype(np.float32),
    "float64 in [-1, 1]": lambda pixels: pixels / 255 * 2 - 1,
    "float32 in [-1, 1]": lambda pixels: (pixels / 255 * 2 - 1).astype(np.float32),
}


class TestImages:
    """Images become float32 in [-1, 1], (n, c, h, w)."""

    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 5, 6)).astype(np.uint8)
    labels = np.arange(8) % 2

    def read(self, save: Writer, root: Path, **changes: Any) -> tuple[Tensor, Tensor]:
        path = save(self.pixels, self.labels, **changes)
        dataset = load(path, root, 0.25)
        assert (dataset.train.labels.dtype, dataset.test.labels.dtype) == (torch.int64,) * 2
        return dataset.train.images, dataset.test.images

    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_layout_and_scale_gives_the_same_values(
        self, save: Writer, tmp_path: Path, layout: str, scale: str
    ) -> None:
        images = SCALES[scale](LAYOUTS[layout](self.pixels))
        _, found = self.read(save, tmp_path, x_train=images, x_test=images)
        channels = 3 if "3" in layout else 1
        expected = torch.from_numpy(self.pixels[:, :channels] / 127.5 - 1).float()
        assert found.dtype == torch.float32
        assert found.is_contiguous()
        assert found.shape == (8, channels, 5, 6)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        assert found.min() >= -1
        assert found.max() <= 1

    def test_black_is_minus_one_and_white_is_one(self, save: Writer, tmp_path: Path) -> None:
        images = np.zeros((8, 4, 4), dtype=np.uint8)
        images[:, 0] = 255
        _, found = self.read(save, tmp_path, x_train=images, x_test=images)
        assert (found[:, :, 0] == 1).all()
        assert (found[:, :, 1:] == -1).all()

    @pytest.mark.parametrize(("first", "second"), [(-1.0, 0.5), (0.5, -1.0)])
    def test_training_and_test_images_share_one_scale(
        self, save: Writer, tmp_path: Path, first: float, second: float
    ) -> None:
        one, other = (np.full((8, 4, 4), value) for value in (first, second))
        train, test = self.read(save, tmp_path, x_train=one, x_test=other)
        assert (train == first).all()
        assert (test == second).all()

    def test_uint8_beside_signed_floats_ends_in_one_scale(
        self, save: Writer, tmp_path: Path
    ) -> None:
        signed = self.pixels / 255 * 2 - 1
        try:
            train, _ = self.read(save, tmp_path, x_test=signed)
        except DataError:
            return
        assert train.min() < -0.9

    @pytest.mark.parametrize("kind", [">f4", "longdouble"])
    def test_unusual_floats_are_read_or_refused(
        self, save: Writer, tmp_path: Path, kind: str
    ) -> None:
        images = (self.pixels / 255).astype(kind)
        try:
            _, found = self.read(save, tmp_path, x_train=images, x_test=images)
        except DataError:
            return
        assert found.dtype == torch.float32

    def test_images_without_pixels_are_refused(self, save: Writer, tmp_path: Path) -> None:
        nothing = np.zeros((8, 0, 0))
        try:
            self.read(save, tmp_path, x_train=nothing, x_test=nothing)
        except DataError:
            return
        pytest.fail("they were accepted")


def plain(labels: list[int]) -> Samples:
    """Samples whose one pixel is their position."""
    positions = torch.arange(len(labels), dtype=torch.float32)
    return Samples(positions[:, None, None, None], torch.tensor(labels, dtype=torch.int64))


class TestSamples:
    """Parts of samples, and batches."""

    @given(st.lists(st.integers(0, 4), max_size=30), st.sets(st.integers(0, 4)))
    def test_of_and_without_part_the_samples_in_order(
        self, labels: list[int], classes: set[int]
    ) -> None:
        samples = plain(labels)
        inside, outside = samples.of(classes), samples.without(classes)
        assert inside.images.flatten().tolist() == [i for i, y in enumerate(labels) if y in classes]
        assert outside.images.flatten().tolist() == [
            i for i, y in enumerate(labels) if y not in classes
        ]
        assert inside.labels.tolist() == [y for y in labels if y in classes]

    @given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32))
    def test_a_pass_sees_every_sample_once_with_its_label(
        self, count: int, size: int, seed: int
    ) -> None:
        samples = plain([index % 5 for index in range(count)])
        seen = []
        for images, labels in samples.batches(size, rng(seed)):
            positions = images.flatten().long()
            assert torch.equal(positions % 5, labels)
            seen += positions.tolist()
        assert sorted(seen) == list(range(count))

    @given(st.integers(2, 70), st.integers(2, 20))
    def test_only_the_last_batch_is_short_and_none_is_of_one(self, count: int, size: int) -> None:
        lengths = [len(labels) for _, labels in plain([0] * count).batches(size, rng())]
        assert lengths[:-1] == [size] * (len(lengths) - 1)
        assert 2 <= lengths[-1] <= size + 1

    def test_a_last_batch_of_one_joins_the_one_before(self) -> None:
        assert [len(y) for _, y in plain([0] * 9).batches(4, rng())] == [4, 5]
        assert [len(y) for _, y in plain([0] * 10).batches(4, rng())] == [4, 4, 2]

    def test_the_seed_decides_the_order_and_each_pass_has_its_own(self) -> None:
        samples = plain([0] * 50)

        def passes(seed: int) -> list[list[float]]:
            source = rng(seed)
            return [
                torch.cat([x for x, _ in samples.batches(8, source)]).flatten().tolist()
                for _ in range(2)
            ]

        assert passes(1) == passes(1)
        orders = [tuple(order) for order in (*passes(1), *passes(2))]
        assert len(set(orders)) == 4
        assert tuple(range(50)) not in orders


class TestIndexBatches:
    """The order and the sizes of a pass, as indices."""

    @staticmethod
    def lengths(count: int, size: int) -> list[int]:
        return [len(part) for part in index_batches(count, size, rng(), torch.device("cpu"))]

    @given(st.integers(1, 70), st.integers(2, 20), st.integers(0, 2**32))
    def test_every_index_comes_once_in_the_order_of_the_random_source(
        self, count: int, size: int, seed: int
    ) -> None:
        parts = list(index_batches(count, size, rng(seed), torch.device("cpu")))
        assert torch.equal(torch.cat(parts), torch.randperm(count, generator=rng(seed)))

    def test_a_last_batch_of_one_joins_the_one_before(self) -> None:
        assert self.lengths(9, 4) == [4, 5]
        assert self.lengths(5, 4) == [5]
        assert self.lengths(10, 4) == [4, 4, 2]
        assert self.lengths(8, 4) == [4, 4]

    def test_one_sample_alone_has_no_batch_to_join(self) -> None:
        assert self.lengths(1, 4) == [1]

    def test_they_are_on_the_device_that_is_asked_for(self) -> None:
        parts = index_batches(9, 4, rng(), torch.device("meta"))
        assert {part.device.type for part in parts} == {"meta"}

    def test_batches_of_samples_are_these(self) -> None:
        samples = plain([0] * 9)
        batches = samples.batches(4, rng(3))
        for part, (images, _) in zip(
            index_batches(9, 4, rng(3), torch.device("cpu")), batches, strict=True
        ):
            assert torch.equal(images, samples.images[part])
