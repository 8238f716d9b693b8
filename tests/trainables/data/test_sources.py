"""Datasets as they are read: names, files, folders, and what is said when they cannot be."""

from __future__ import annotations

import io
import os
import pickle
import struct
import urllib.error
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from trainables.data.dataset import load
from trainables.data.sources import SOURCES, Raw, read, source, stratified
from trainables.errors import DataError, InvalidRequest

PARTS = ("x_train", "y_train", "x_test", "y_test")


def tiny(**changes: Any) -> dict[str, Any]:
    """Arrays of a valid dataset: three classes, six training and three test images of 4x4."""
    pixels = np.arange(9 * 16, dtype=np.uint8).reshape(9, 4, 4)
    labels = np.arange(9) % 3
    valid = dict(zip(PARTS, (pixels[:6], labels[:6], pixels[6:], labels[6:]), strict=True))
    return {**valid, **changes}


def raw(classes: tuple[str, ...] = ("cat", "dog", "owl"), **changes: Any) -> Raw:
    return Raw("pets", **tiny(**changes), classes=classes)


def fetch(path: Path | str) -> Raw:
    """Read without the cache of `read`."""
    return source(str(path)).read(str(path), Path("/nowhere"))


def refusal(path: Path | str) -> str:
    """What a DataError says of this dataset; it must be one line that names the dataset."""
    with pytest.raises(DataError) as caught:
        fetch(path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert str(path) in text
    return text


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny dataset, with changes, as a .npz file."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "own.npz"
        np.savez(path, **tiny(**changes))
        return path

    return write


class TestDigits:
    """The dataset inside scikit-learn."""

    def test_they_are_1797_grey_images_of_8x8_in_ten_classes(self) -> None:
        digits = read("digits", Path("/nowhere"))
        assert len(digits.x_train) + len(digits.x_test) == 1797
        assert digits.x_train.shape[1:] == digits.x_test.shape[1:] == (8, 8)
        assert digits.classes == tuple("0123456789")
        assert (digits.x_train.min(), digits.x_train.max()) == (0.0, 1.0)

    def test_train_and_test_are_the_whole_set_once(self) -> None:
        from sklearn.datasets import load_digits

        digits, whole = read("digits", Path("/nowhere")), load_digits()
        rows = np.column_stack(
            [
                np.concatenate([digits.x_train, digits.x_test]).reshape(1797, 64) * 16,
                np.concatenate([digits.y_train, digits.y_test]),
            ]
        )
        expected = np.column_stack([whole.data, whole.target])
        assert sorted(map(tuple, rows)) == sorted(map(tuple, expected))

    def test_a_quarter_of_every_digit_is_for_testing(self) -> None:
        digits = read("digits", Path("/nowhere"))
        tests = np.bincount(digits.y_test)
        total = tests + np.bincount(digits.y_train)
        assert (abs(tests - total / 4) <= 0.5).all()


class TestStratified:
    """The mask that holds out a share of every class."""

    labels = arrays.arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 4))

    @given(labels, st.floats(0, 1), st.integers(0, 2**32 - 1))
    def test_every_class_gives_its_share_and_at_least_one(
        self, labels: np.ndarray, fraction: float, seed: int
    ) -> None:
        mask = stratified(labels, fraction, seed)
        assert mask.shape == labels.shape
        assert mask.dtype == bool
        for label in np.unique(labels):
            size, held_out = (labels == label).sum(), mask[labels == label].sum()
            assert held_out >= 1
            assert held_out == 1 or abs(held_out - fraction * size) <= 0.5

    @given(labels, st.floats(0, 1), st.integers(0, 2**32 - 1))
    def test_the_seed_decides(self, labels: np.ndarray, fraction: float, seed: int) -> None:
        again = stratified(labels.copy(), fraction, seed)
        assert np.array_equal(stratified(labels, fraction, seed), again)

    def test_another_seed_holds_out_others(self) -> None:
        labels = np.zeros(100, dtype=int)
        masks = {stratified(labels, 0.5, seed).tobytes() for seed in range(5)}
        assert len(masks) == 5

    def test_the_first_samples_are_not_preferred(self) -> None:
        labels = np.zeros(1_000, dtype=int)
        assert 60 < stratified(labels, 0.2, 0)[:500].sum() < 140


class TestFingerprint:
    """The digits that stand for the content of a dataset."""

    def test_equal_content_has_one_fingerprint_of_sixteen_digits(self) -> None:
        assert raw().fingerprint == raw().fingerprint
        assert len(raw().fingerprint) == 16
        assert int(raw().fingerprint, 16) >= 0

    @given(st.sampled_from(PARTS), st.data())
    def test_one_pixel_or_one_label_changes_it(self, part: str, data: st.DataObject) -> None:
        changed = tiny()[part].copy()
        place = data.draw(st.integers(0, changed.size - 1))
        changed.flat[place] += 1
        assert raw(**{part: changed}).fingerprint != raw().fingerprint

    def test_the_shape_and_the_type_count(self) -> None:
        pixels = tiny()["x_train"]
        prints = {
            raw().fingerprint,
            raw(x_train=pixels.reshape(6, 2, 8)).fingerprint,
            raw(x_train=pixels.view(np.int8)).fingerprint,
        }
        assert len(prints) == 3

    def test_the_order_in_memory_does_not_count(self) -> None:
        pixels = tiny()["x_train"]
        assert raw(x_train=np.asfortranarray(pixels)).fingerprint == raw().fingerprint


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5, 7), (1, 5, 7)),
        ((6, 5, 7, 1), (1, 5, 7)),
        ((6, 5, 7, 3), (3, 5, 7)),
        ((6, 1, 5, 7), (1, 5, 7)),
        ((6, 3, 5, 7), (3, 5, 7)),
    ],
)
def test_the_shape_is_told_before_any_tensor_is_made(
    shape: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    assert raw(x_train=np.zeros(shape)).image_shape == expected


class TestResolveClasses:
    """Class indices from what a person writes."""

    def test_names_and_numbers_mix_and_come_back_sorted_and_once(self) -> None:
        assert raw().resolve_classes(["owl", 0, " owl "]) == (0, 2)
        assert raw().resolve_classes(["dog"]) == (1,)

    def test_a_string_is_a_name_and_a_number_an_index(self) -> None:
        backwards = raw(classes=("2", "1", "0"))
        assert backwards.resolve_classes(["2"]) == (0,)
        assert backwards.resolve_classes([2]) == (2,)
        with pytest.raises(InvalidRequest, match="unknown class of pets '2'"):
            raw().resolve_classes(["2"])

    @pytest.mark.parametrize("number", [3, -1, 99])
    def test_a_number_out_of_range_names_the_range(self, number: int) -> None:
        with pytest.raises(InvalidRequest, match=rf"{number} is out of range.*0 to 2"):
            raw().resolve_classes([number])

    def test_an_unknown_name_gets_a_suggestion(self) -> None:
        with pytest.raises(InvalidRequest, match="did you mean 'cat'"):
            raw().resolve_classes(["cta"])

    def test_all_classes_at_once_leave_nothing_to_retain(self) -> None:
        with pytest.raises(InvalidRequest, match="at least one class must be retained"):
            raw().resolve_classes([0, 1, 2])

    def test_no_class_is_no_request(self) -> None:
        with pytest.raises(InvalidRequest, match="at least one class"):
            raw().resolve_classes([])

    def test_a_class_without_test_images_cannot_be_measured(self) -> None:
        with pytest.raises(InvalidRequest, match=r"class 2 \('owl'\).*no test images"):
            raw(y_test=np.array([0, 1, 1])).resolve_classes(["owl"])

    @pytest.mark.parametrize("text", ["", "-", "1.0", "None", "1,2", "0x1", "\n", "²", "--1"])
    def test_what_is_no_class_is_an_invalid_request(self, text: str) -> None:
        with pytest.raises(InvalidRequest):
            raw().resolve_classes([text])


class TestNpz:
    """A user's own arrays."""

    def test_arrays_and_class_names_are_read_as_they_are(self, save: Callable[..., Path]) -> None:
        path = save(classes=np.array(["cat", "dog", "owl"]))
        found, expected = fetch(path), tiny()
        assert found.name == str(path)
        assert found.classes == ("cat", "dog", "owl")
        for part in PARTS:
            assert np.array_equal(getattr(found, part), expected[part])

    def test_classes_without_names_are_called_by_number(self, save: Callable[..., Path]) -> None:
        assert fetch(save()).classes == ("0", "1", "2")

    def test_class_names_may_be_bytes_or_numbers(self, save: Callable[..., Path]) -> None:
        words = np.array(["café".encode(), b"dog", b"owl"])
        assert fetch(save(classes=words)).classes == ("café", "dog", "owl")
        assert fetch(save(classes=np.array([1, 2, 3]))).classes == ("1", "2", "3")

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (["cat", "dog", "cat"], "alike are 0 ('cat'), 2 ('cat')"),
            (["cat", "dog", " cat"], "alike are 0 ('cat'), 2 (' cat')"),
            (["caf\u00e9", "dog", "cafe\u0301"], "alike are 0 ('caf\u00e9'), 2 ('cafe\u0301')"),
            ([b"cat", b"\xff", b"owl"], "is not UTF-8 text"),
            ([["cat"], ["dog"], ["owl"]], "classes has shape (3, 1)"),
            ("cat", "classes has shape ()"),
        ],
    )
    def test_class_names_that_are_none_or_doubled_are_refused(
        self, save: Callable[..., Path], names: object, said: str
    ) -> None:
        assert said in refusal(save(classes=np.array(names)))

    @pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 3), (1, 4, 4), (3, 4, 4)])
    def test_grey_and_colour_are_taken_in_either_order(
        self, save: Callable[..., Path], shape: tuple[int, ...]
    ) -> None:
        images = {"x_train": np.zeros((6, *shape)), "x_test": np.zeros((3, *shape))}
        assert fetch(save(**images)).x_train.shape == (6, *shape)

    @pytest.mark.parametrize("part", PARTS)
    def test_a_missing_array_is_named_beside_those_found(self, tmp_path: Path, part: str) -> None:
        path = tmp_path / "own.npz"
        np.savez(path, **{name: array for name, array in tiny().items() if name != part})
        text = refusal(path)
        assert f"missing {part};" in text
        for other in set(PARTS) - {part}:
            assert other in text.split("found:")[1]

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"y_train": np.arange(6) % 3 + 1, "y_test": np.array([1, 2, 3])}, "labels 1 to 3"),
            ({"y_train": np.arange(6) % 3 - 1}, "labels -1 to 1"),
            ({"y_train": np.array([0, 2, 0, 2, 0, 2])}, "every one present"),
            ({"y_train": np.zeros(6, int), "y_test": np.zeros(3, int)}, "at least two classes"),
            ({"y_test": np.array([0, 1, 3])}, "labels that y_train does not have"),
            ({"y_train": np.arange(6) % 3 * 1.0}, "y_train is float64; labels must be integers"),
            ({"y_test": np.array(["0", "1", "2"])}, "labels must be integers"),
            ({"y_train": np.eye(6, 3, dtype=int)}, r"y_train has shape (6, 3) for 6 images"),
            ({"y_train": np.arange(5) % 3}, "one label per image"),
            ({"x_test": np.zeros((0, 4, 4), np.uint8), "y_test": np.zeros(0, int)}, "at least one"),
            ({"x_train": np.zeros((6, 16), np.uint8)}, "x_train has shape (6, 16)"),
            ({"x_train": np.zeros((6, 1, 4, 4, 1), np.uint8)}, "possible: (n, h, w)"),
            ({"x_train": np.zeros((6, 4, 4, 2), np.uint8)}, "with 1 or 3 channels"),
            ({"x_test": np.zeros((3, 5, 5), np.uint8)}, "they must be alike"),
            ({"x_train": np.full((6, 4, 4), 255.0)}, "x_train ranges from 255 to 255"),
            ({"x_test": np.full((3, 4, 4), -1.5)}, "x_test ranges from -1.5"),
            ({"x_train": np.full((6, 4, 4), np.nan)}, "finite floats"),
            ({"x_train": np.full((6, 4, 4), 7)}, "x_train is int64; possible: uint8"),
            ({"classes": np.array(["cat", "dog"])}, "2 names in classes for 3 labels"),
        ],
    )
    def test_what_is_wrong_with_the_arrays_is_said(
        self, save: Callable[..., Path], changes: dict[str, Any], said: str
    ) -> None:
        assert said in refusal(save(**changes))

    @pytest.mark.parametrize("keep", [0, 10, 400, -30])
    def test_a_truncated_file_is_refused(self, save: Callable[..., Path], keep: int) -> None:
        path = save()
        path.write_bytes(path.read_bytes()[:keep])
        assert "cannot be read as .npz" in refusal(path)

    def test_a_corrupt_file_is_refused(self, save: Callable[..., Path]) -> None:
        path = save()
        content = bytearray(path.read_bytes())
        content[200:210] = bytes(10 * [0xFF])
        path.write_bytes(content)
        assert "cannot be read as .npz" in refusal(path)

    def test_other_formats_under_the_name_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "own.npz"
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        assert "cannot be read as .npz" in refusal(path)
        path.write_bytes(pickle.dumps([1, 2, 3]))
        assert "cannot be read as .npz" in refusal(path)

    def test_what_is_no_array_is_named(self, save: Callable[..., Path]) -> None:
        path = save(classes=np.array(["cat", "dog", "cow"], dtype=object))
        assert refusal(path).endswith(
            "(classes holds Python objects; save it as numbers, or names with dtype=str)"
        )
        path.write_bytes(b"x,y")
        assert refusal(path).endswith("(it is no zip of arrays, as np.savez writes it)")
        with zipfile.ZipFile(path, "w") as file:
            for name in PARTS:
                file.writestr(name, "text")
        assert refusal(path).endswith("(x_train is no array)")

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        assert "no such file" in refusal(tmp_path / "none.npz")

    def test_a_folder_called_npz_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "own.npz").mkdir()
        assert "cannot be read as .npz" in refusal(tmp_path / "own.npz")

    @pytest.mark.parametrize(
        "changes",
        [
            {"x_train": np.asfortranarray(tiny()["x_train"])},
            {"x_train": (tiny()["x_train"] / 255).astype(">f8")},
            {"x_train": (tiny()["x_train"] / 255).astype(np.float16)},
            {"y_train": tiny()["y_train"].astype(">i8")},
            {"y_train": tiny()["y_train"].astype(np.uint8)},
            {"y_train": tiny()["y_train"].astype(np.uint64)},
            {"y_test": tiny()["y_test"].astype(np.uint64)},
        ],
    )
    def test_any_layout_of_the_numbers_will_do(
        self, save: Callable[..., Path], changes: dict[str, Any]
    ) -> None:
        given = tiny(**changes)
        again = {part: np.concatenate([given[part]] * 3) for part in ("x_train", "y_train")}
        if np.isfortran(given["x_train"]):
            again["x_train"] = np.asfortranarray(again["x_train"])
        found = load(str(save(**given | again)), Path("/nowhere"), 0.2)
        labels = torch.cat([found.train.labels, found.validation.labels])
        assert torch.bincount(labels).tolist() == [6, 6, 6]
        shown = found.train.images[found.train.labels == 0].unique(dim=0)
        expected = torch.from_numpy(tiny()["x_train"][[0, 3], None] / 127.5 - 1).float()
        assert torch.allclose(shown, expected, atol=1e-3)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"x_train": tiny()["x_train"] > 3}, "x_train is bool; possible: uint8"),
            ({"x_train": tiny()["x_train"].astype(np.uint16)}, "x_train is uint16"),
            ({"x_train": tiny()["x_train"] * 1j}, "x_train is complex128"),
            ({"x_train": tiny()["x_train"].astype("M8[s]")}, "x_train is datetime64[s]"),
            ({"x_train": np.float64(3)}, "x_train has shape ()"),
            ({"y_train": np.int64(3)}, "y_train has shape ()"),
            ({"y_train": np.full(6, np.nan)}, "labels must be integers"),
            ({"y_train": tiny()["y_train"] > 1}, "labels must be integers"),
            ({"x_train": np.zeros((0, 4, 4), np.uint8), "y_train": np.zeros(0, int)}, "x_train"),
        ],
    )
    def test_numbers_of_other_kinds_are_refused(
        self, save: Callable[..., Path], changes: dict[str, Any], said: str
    ) -> None:
        assert said in refusal(save(**changes))

    def test_a_header_that_promises_the_world_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "own.npz"
        header = io.BytesIO()
        promised = {"descr": "|u1", "fortran_order": False, "shape": (10**15, 8, 8)}
        np.lib.format.write_array_header_1_0(header, promised)
        with zipfile.ZipFile(path, "w") as file:
            for name in PARTS:
                file.writestr(f"{name}.npy", header.getvalue())
        assert "cannot be read as .npz" in refusal(path)

    def test_an_encrypted_file_is_refused(self, save: Callable[..., Path]) -> None:
        path = save()
        content = path.read_bytes()
        for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of each entry
            parts = content.split(mark)
            content = mark.join(
                [parts[0], *(p[: place - 4] + b"\x01" + p[place - 3 :] for p in parts[1:])]
            )
        path.write_bytes(content)
        assert "encrypted" in refusal(path)

    def test_nothing_in_it_is_unpickled(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (tmp_path / "sprung",)

        path = tmp_path / "own.npz"
        np.savez(path, **tiny(x_test=np.array([Trap()] * 3, dtype=object)))
        assert "cannot be read as .npz" in refusal(path)
        assert not (tmp_path / "sprung").exists()


class TestFolder:
    """A user's own images."""

    @staticmethod
    def image(path: Path, value: int = 0, mode: str = "L", size: tuple[int, int] = (4, 5)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (value, value + 1, value + 2) if mode == "RGB" else value
        Image.new(mode, size, colour).save(path, format="PNG")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Classes cat and dog; each image is one grey value, which tells which it is."""
        for part, first in (("train", 0), ("test", 100)):
            for label, name in enumerate(("cat", "dog")):
                for index in range(2):
                    value = first + 10 * label + index
                    self.image(tmp_path / "own" / part / name / f"{index}.png", value)
        return tmp_path / "own"

    def test_images_and_labels_are_read_class_by_class(self, folder: Path) -> None:
        found = fetch(folder)
        assert found.classes == ("cat", "dog")
        assert found.x_train.shape == (4, 5, 4)
        assert found.x_train.dtype == np.uint8
        assert found.x_train[:, 0, 0].tolist() == [0, 1, 10, 11]
        assert found.y_train.tolist() == [0, 0, 1, 1]
        assert found.x_test[:, 0, 0].tolist() == [100, 101, 110, 111]
        assert found.y_test.tolist() == [0, 0, 1, 1]

    def test_classes_come_in_the_order_of_their_names(self, folder: Path) -> None:
        self.image(folder / "train" / "ant" / "0.png", 50)
        found = fetch(folder)
        assert found.classes == ("ant", "cat", "dog")
        assert found.y_train[found.x_train[:, 0, 0] == 50].tolist() == [0]
        assert found.y_test.tolist() == [1, 1, 2, 2]

    def test_colour_images_keep_their_channels_last(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                self.image(tmp_path / part / name / "0.png", 7, "RGB")
        found = fetch(tmp_path)
        assert found.x_train.shape == (2, 5, 4, 3)
        assert found.x_train[0, 0, 0].tolist() == [7, 8, 9]

    def test_grey_images_of_16_bits_keep_their_shades_or_are_refused(self, tmp_path: Path) -> None:
        shades = (np.arange(16).reshape(4, 4) * 4_000).astype(np.uint16)
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                (tmp_path / part / name).mkdir(parents=True)
                Image.fromarray(shades).save(tmp_path / part / name / "0.png")
        try:
            found = fetch(tmp_path)
        except DataError:
            return
        assert len(np.unique(found.x_train[0])) == 16

    def test_other_files_are_passed_over(self, folder: Path) -> None:
        (folder / "train" / "cat" / "notes.txt").write_text("not an image")
        (folder / "train" / "README").write_text("not a class")
        self.image(folder / "train" / "cat" / "9.PNG", 9)
        found = fetch(folder)
        assert found.x_train[:, 0, 0].tolist() == [0, 1, 9, 10, 11]
        assert found.notes == (
            "own/: 1 file left out (1 .txt)",
            "own/: 1 file left out, in no class folder (train/README)",
        )

    def test_a_folder_of_images_alone_has_nothing_to_tell(self, folder: Path) -> None:
        assert fetch(folder).notes == ()

    def test_what_systems_leave_behind_is_no_class_and_no_image(self, folder: Path) -> None:
        before = fetch(folder).fingerprint
        for place in ("", "train", "train/cat", "test/dog"):
            for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
                self.image(folder / place / name / "0.png", 99)
            for name in (".DS_Store", "._0.png", "Thumbs.db", "desktop.ini"):
                (folder / place / name).write_bytes(b"not an image")
        found = fetch(folder)
        assert (found.classes, found.fingerprint, found.notes) == (("cat", "dog"), before, ())

    def test_what_is_not_read_is_told_with_its_number(self, folder: Path) -> None:
        for name in ("a.csv", "b.txt", "c.TXT", "noise"):
            (folder / "test" / "dog" / name).write_text("x")
        self.image(folder / "train" / "cat" / "group" / "0.png")
        self.image(folder / "validation" / "cat" / "0.png")
        (folder / "train" / "loop").symlink_to("loop")
        (folder / "train" / "dog" / "up").symlink_to("..")
        os.mkfifo(folder / "train" / "dog" / "endless.png")
        assert fetch(folder).notes == (
            "own/: 5 files left out (2 .txt, 1 .png, 1 .csv, 1 without suffix)",
            "own/: 1 file left out, in no class folder (train/loop)",
            "own/: 2 folders inside classes are not read (train/cat/group, train/dog/up)",
            "own/: beside train/ and test/, not read: validation",
        )

    def test_a_class_whose_images_lie_deeper_is_refused(self, folder: Path) -> None:
        (folder / "train" / "cat").rename(folder / "train" / "group")
        (folder / "train" / "cat").mkdir()
        (folder / "train" / "group").rename(folder / "train" / "cat" / "group")
        text = refusal(folder)
        assert "no images in train/cat" in text
        assert "folders in it are not read: group" in text

    @pytest.mark.parametrize("suffix", ["tif", "TIFF", "gif", "ppm", "tga", "jpg"])
    def test_all_that_pillow_reads_is_read(self, tmp_path: Path, suffix: str) -> None:
        for part in ("train", "test"):
            for value, name in enumerate(("cat", "dog")):
                folder = tmp_path / part / name
                folder.mkdir(parents=True)
                Image.new("L", (4, 5), 100 * value).save(folder / f"0.{suffix}")
        found = fetch(tmp_path)
        assert found.x_train.reshape(2, -1).max(axis=1).tolist() == [0, 100]
        assert found.notes == ()

    def test_images_are_turned_as_exif_says(self, folder: Path) -> None:
        upright = np.arange(20, dtype=np.uint8).reshape(5, 4)
        turned = {1: upright, 3: upright[::-1, ::-1], 2: upright[:, ::-1], 4: upright[::-1]}
        for orientation, stored in turned.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            path = folder / "train" / "cat" / f"{orientation}-turned.png"
            Image.fromarray(stored).save(path, exif=exif)
        found = fetch(folder)
        shown = [image for image in found.x_train if image[1, 1] == upright[1, 1]]
        assert len(shown) == 4
        assert all(np.array_equal(image, upright) for image in shown)

    def test_a_picture_taken_upright_has_its_sides_changed(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        upright = np.arange(20, dtype=np.uint8).reshape(5, 4)
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                (tmp_path / part / name).mkdir(parents=True)
                Image.fromarray(np.rot90(upright)).save(tmp_path / part / name / "0.png", exif=exif)
        assert np.array_equal(fetch(tmp_path).x_train[0], upright)

    def test_damaged_exif_says_nothing(self, folder: Path) -> None:
        path = folder / "train" / "cat" / "0.png"
        Image.new("L", (4, 5), 77).save(path, exif=b"Exif\0\0garbage")
        assert fetch(folder).x_train[0, 0, 0] == 77

    def test_of_several_frames_the_first_is_taken_and_that_is_told(self, folder: Path) -> None:
        frames = [Image.new("L", (4, 5), value) for value in (7, 200)]
        frames[0].save(folder / "train" / "cat" / "9.tif", save_all=True, append_images=frames[1:])
        found = fetch(folder)
        assert found.x_train[:, 0, 0].tolist() == [0, 1, 7, 10, 11]
        assert found.notes == (
            "own/: of 1 file with several frames the first is taken (train/cat/9.tif)",
        )

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "YCbCr"])
    def test_other_modes_become_rgb_without_alpha(self, tmp_path: Path, mode: str) -> None:
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                (tmp_path / part / name).mkdir(parents=True)
                image = Image.new("RGB", (4, 5), (0, 51, 102)).convert(mode)
                if mode in ("RGBA", "LA"):
                    image.putalpha(0)
                image.save(tmp_path / part / name / "0.tif")
        found = fetch(tmp_path)
        assert found.x_train.shape == (2, 5, 4, 3)
        expected = [42, 42, 42] if mode == "LA" else [0, 51, 102]
        assert np.abs(found.x_train[0, 0, 0].astype(int) - expected).max() <= 3

    @pytest.mark.parametrize(("kind", "suffix"), [("uint16", "tif"), ("float32", "tif")])
    def test_more_than_8_bits_a_channel_are_refused(
        self, folder: Path, kind: str, suffix: str
    ) -> None:
        path = folder / "train" / "cat" / f"0.{suffix}"
        Image.fromarray(np.ones((5, 4), kind)).save(path)
        assert "must have 8 bits a channel" in refusal(folder)

    @pytest.mark.parametrize("name", ["9.png", "9.ppm"])
    def test_colours_of_16_bits_are_refused_as_greys_are(self, folder: Path, name: str) -> None:
        samples = np.full((5, 4, 3), 0x1234, ">u2")
        if name == "9.ppm":
            content = b"P6 4 5 65535\n" + samples.tobytes()
        else:
            rows = b"".join(b"\0" + row.tobytes() for row in samples)
            size = struct.pack(">IIBBBBB", 4, 5, 16, 2, 0, 0, 0)
            chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
            content = b"\x89PNG\r\n\x1a\n" + b"".join(
                struct.pack(">I", len(part))
                + kind
                + part
                + struct.pack(">I", zlib.crc32(kind + part))
                for kind, part in chunks
            )
        (folder / "train" / "cat" / name).write_bytes(content)
        assert "must have 8 bits a channel" in refusal(folder)

    def test_black_and_white_in_a_pbm_is_read(self, folder: Path) -> None:
        (folder / "train" / "cat" / "9.pbm").write_text("P1 4 5\n" + "1 0 1 0\n" * 5)
        assert fetch(folder).x_train.max() == 255

    @pytest.mark.parametrize("content", [b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 5\n"])
    def test_what_is_no_image_under_the_name_of_one_is_refused(
        self, folder: Path, content: bytes
    ) -> None:
        path = folder / "test" / "cat" / "9.png"
        path.write_bytes(content)
        assert f"{path}: not a readable image" in refusal(folder)

    def test_a_link_to_an_image_that_is_gone_is_refused(self, folder: Path) -> None:
        (folder / "train" / "cat" / "9.png").symlink_to("gone.png")
        assert "9.png: not a readable image" in refusal(folder)

    def test_a_class_written_in_two_ways_is_named(self, folder: Path) -> None:
        (folder / "test" / "cat").rename(folder / "test" / "Cat")
        assert "test/Cat is written otherwise than train/cat" in refusal(folder)

    def test_classes_that_differ_in_case_are_told(self, folder: Path) -> None:
        self.image(folder / "train" / "Cat" / "0.png")
        (note,) = fetch(folder).notes
        assert note == "own/: classes that differ in case alone: Cat, cat"

    def test_the_content_of_a_folder_has_the_fingerprint_that_it_had(self, folder: Path) -> None:
        # Written down before folders were read by this code: keys of artifacts follow from it.
        assert fetch(folder).fingerprint == "d5c61a7d7052a3e0"

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_a_missing_part_is_named(self, folder: Path, part: str) -> None:
        (folder / part).rename(folder / "elsewhere")
        assert f"no folder {part}/" in refusal(folder)

    def test_an_empty_class_is_named(self, folder: Path) -> None:
        (folder / "train" / "eel").mkdir()
        assert "no images in train/eel" in refusal(folder)

    def test_a_class_of_test_alone_is_named(self, folder: Path) -> None:
        (folder / "test" / "eel").mkdir()
        assert "test/ has classes that train/ lacks: eel" in refusal(folder)

    def test_a_class_may_be_written_in_another_unicode_form_in_test(self, folder: Path) -> None:
        (folder / "train" / "cat").rename(folder / "train" / "caf\u00e9")
        (folder / "test" / "cat").rename(folder / "test" / "cafe\u0301")
        found = fetch(folder)
        assert found.classes == ("caf\u00e9", "dog")
        assert found.x_test[:, 0, 0].tolist() == [100, 101, 110, 111]
        assert found.y_test.tolist() == [0, 0, 1, 1]

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_classes_of_one_name_are_refused(self, folder: Path, part: str) -> None:
        for name in ("caf\u00e9", "cafe\u0301"):
            self.image(folder / part / name / "0.png", 50)
        assert "alike are 0 ('cafe\u0301'), 1 ('caf\u00e9')" in refusal(folder)

    def test_folders_named_by_numbers_are_in_the_order_of_text(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            for number in range(1, 13):
                self.image(tmp_path / part / str(number) / "0.png", number)
        found = fetch(tmp_path)
        assert found.classes[:5] == ("1", "10", "11", "12", "2")
        assert found.resolve_classes(["2"]) == found.resolve_classes([4]) == (4,)

    def test_one_class_is_too_few(self, folder: Path) -> None:
        for part in ("train", "test"):
            (folder / part / "dog").rename(folder / f"dog of {part}")
        assert "train/ holds 1 class folders; at least two" in refusal(folder)

    def test_no_test_image_at_all_is_refused(self, folder: Path) -> None:
        for file in (folder / "test").rglob("*.png"):
            file.unlink()
        assert "no images in test/" in refusal(folder)

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_a_corrupt_image_is_named(self, folder: Path, part: str) -> None:
        corrupt = folder / part / "dog" / "1.png"
        corrupt.write_bytes(corrupt.read_bytes()[:40])
        text = refusal(folder)
        assert str(corrupt) in text
        assert "not a readable image" in text

    def test_images_of_another_size_are_named(self, folder: Path) -> None:
        odd = folder / "test" / "cat" / "0.png"
        self.image(odd, size=(4, 4))
        text = refusal(folder)
        assert str(odd) in text
        assert "one size" in text

    def test_grey_among_colour_is_named(self, folder: Path) -> None:
        odd = folder / "train" / "dog" / "1.png"
        self.image(odd, 1, "RGB")
        text = refusal(folder)
        assert str(odd) in text
        assert "one colour mode" in text


class TestNames:
    """What a person may call a dataset."""

    def test_an_unknown_name_gets_a_suggestion_and_the_other_ways(self) -> None:
        with pytest.raises(InvalidRequest, match="did you mean 'cifar10'") as caught:
            source("cifar-10")
        assert ".npz" in str(caught.value)
        assert "fashion-mnist" in str(caught.value)

    def test_a_path_that_is_not_there_is_no_unknown_name(self) -> None:
        with pytest.raises(DataError, match=r"neither a folder of images nor a \.npz file"):
            source("/no/such/folder")

    def test_a_file_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        path.write_text("1,2")
        with pytest.raises(DataError, match=r"neither a folder of images nor a \.npz file"):
            source(str(path))

    def test_the_home_of_nobody_is_an_invalid_request(self) -> None:
        with pytest.raises(InvalidRequest):
            source("~no-such-user/data")

    def test_the_thesis_forgets_cat_three_and_class_82(self) -> None:
        assert {name: SOURCES[name].forget for name in ("cifar10", "svhn", "cifar100")} == {
            "cifar10": 3,
            "svhn": 3,
            "cifar100": 82,
        }

    def test_named_datasets_hold_out_the_thesis_five_percent(self) -> None:
        for name in ("mnist", "fashion-mnist", "cifar10", "svhn"):
            assert SOURCES[name].validation_fraction == 0.05

    def test_cifar100_holds_out_fifty_of_the_five_hundred_images_of_a_class(self) -> None:
        assert SOURCES["cifar100"].validation_fraction == 0.1


class TestTorchvision:
    """Datasets that torchvision reads and downloads."""

    @pytest.mark.parametrize(
        ("name", "class_name", "files"),
        [
            ("mnist", "MNIST", "MNIST/raw"),
            ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw"),
            ("cifar10", "CIFAR10", "cifar-10-batches-py"),
            ("cifar100", "CIFAR100", "cifar-100-python"),
            ("svhn", "SVHN", "train_32x32.mat"),
        ],
    )
    def test_without_a_network_the_folder_and_the_files_are_named(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        name: str,
        class_name: str,
        files: str,
    ) -> None:
        def offline(*_: Any, **__: Any) -> NoReturn:
            raise urllib.error.URLError("Name or service not known")

        kinds = torchvision.datasets
        for module in (kinds.mnist, kinds.cifar):
            monkeypatch.setattr(module, "download_and_extract_archive", offline)
        monkeypatch.setattr(kinds.svhn, "download_url", offline)
        root = tmp_path / "data"
        with pytest.raises(DataError) as caught:
            source(name).read(name, root)
        text = str(caught.value)
        for part in (f"{class_name} is not in {root}", files, "not be downloaded", "--data"):
            assert part in text
        assert len(text.splitlines()) == 1
        assert capsys.readouterr().out == ""

    @staticmethod
    def stand_in(present: bool, downloads: list[bool], **names: list[str]) -> type:
        """A class like torchvision's; its images say which split they are of."""

        class Fake:
            def __init__(self, root: str, download: bool, train: bool = True) -> None:
                downloads.append(download)
                print("Files already downloaded and verified")
                if not present and not download:
                    raise RuntimeError("Dataset not found")
                self.data = np.full((4, 32, 32, 3), int(train), dtype=np.uint8)
                self.targets = [0, 1, 0, 1]

        for name, value in names.items():
            setattr(Fake, name, value)
        return Fake

    def test_what_is_there_is_read_without_a_download_and_in_silence(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        downloads: list[bool] = []
        fake = self.stand_in(True, downloads, classes=["cat", "dog"])
        monkeypatch.setattr(torchvision.datasets, "CIFAR10", fake)
        found = source("cifar10").read("cifar10", tmp_path)
        assert downloads == [False, False]
        assert capsys.readouterr().out == ""
        assert found.classes == ("cat", "dog")
        assert (found.x_train == 1).all()
        assert (found.x_test == 0).all()
        assert found.y_train.tolist() == [0, 1, 0, 1]

    def test_what_is_missing_is_downloaded_into_a_new_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        downloads: list[bool] = []
        fake = self.stand_in(False, downloads, classes=["cat", "dog"])
        monkeypatch.setattr(torchvision.datasets, "CIFAR10", fake)
        source("cifar10").read("cifar10", tmp_path / "new" / "data")
        assert downloads == [False, True, True]
        assert (tmp_path / "new" / "data").is_dir()

    def test_a_broken_file_is_not_downloaded_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(**_: Any) -> NoReturn:
            raise EOFError("Ran out of input")

        monkeypatch.setattr(torchvision.datasets, "CIFAR10", broken)
        with pytest.raises(DataError, match="cannot be read: Ran out of input"):
            source("cifar10").read("cifar10", tmp_path)


def test_reading_twice_reads_once(save: Callable[..., Path], tmp_path: Path) -> None:
    path = str(save())
    assert read(path, tmp_path) is read(path, tmp_path)

    def test_a_name_too_long_for_a_file_is_refused(self) -> None:
        with pytest.raises(InvalidRequest):
            source("x" * 300)
        with pytest.raises(InvalidRequest):
            source("/tmp/" + "x" * 300)
