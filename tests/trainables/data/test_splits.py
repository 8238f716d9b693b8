"""Which images are for validation, and how a list of them is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trainables.data.sources import SOURCES, SPLIT_SEED, Raw, read, stratified
from trainables.data.splits import HeldOut, check, for_validation, read_held_out, suitable_fraction
from trainables.errors import DataError

NAMES = ("cat/1.png", "cat/ü.png", "dog/ 2.png", "dog/3.png", "owl/4.png", "owl/5.png")


def raw(train: list[int], test: list[int], paths: tuple[str, ...] = ()) -> Raw:
    """So many training and test images of each class, cat, dog and so on."""
    labels = [np.repeat(np.arange(len(counts)), counts) for counts in (train, test)]
    images = [np.zeros((len(each), 2, 2), np.uint8) for each in labels]
    classes = ("cat", "dog", "owl", "bee")[: len(train)]
    return Raw("pets", images[0], labels[0], images[1], labels[1], classes, paths)


class TestFraction:
    """How much of the training images is for validation where nobody says it."""

    @pytest.mark.parametrize(
        ("counts", "least", "expected"),
        [
            ([5_000] * 10, 0.05, 0.05),
            ([500] * 100, 0.05, 0.1),
            ([600, 6_000], 0.05, 50 / 600),
            ([499, 6_000], 0.05, 0.2),
            ([50, 60], 0.05, 0.2),
            ([50, 60], 0.3, 0.3),
        ],
    )
    def test_by_hand(self, counts: list[int], least: float, expected: float) -> None:
        labels = np.repeat(np.arange(len(counts)), counts)
        assert suitable_fraction(labels, least) == expected

    @given(st.lists(st.integers(1, 3_000), min_size=1, max_size=4), st.floats(0.001, 0.5))
    def test_each_class_gets_its_least_once_it_is_rounded(
        self, counts: list[int], least: float
    ) -> None:
        labels = np.repeat(np.arange(len(counts)), counts)
        held_out = stratified(labels, suitable_fraction(labels, least), SPLIT_SEED)
        for label, count in enumerate(counts):
            found = held_out[labels == label].sum()
            assert found >= (50 if count >= 500 else max(1, np.floor(0.2 * count)))

    @given(st.integers(500, 100_000))
    def test_of_any_large_class_at_least_50(self, count: int) -> None:
        assert round(suitable_fraction(np.zeros(count, int), 1e-9) * count) >= 50

    def test_what_suited_large_datasets_suits_them_still(self, tmp_path: Path) -> None:
        digits = read("digits", tmp_path)
        assert suitable_fraction(digits.y_train, SOURCES["digits"].validation_fraction) == 0.2


class TestMasks:
    """Which images are taken, from where."""

    def test_a_share_of_the_training_images_is_the_same_as_ever(self) -> None:
        pets = raw([50, 100, 150], [10, 10, 10])
        training, test = for_validation(pets, 0.2, "training", None)
        assert np.array_equal(training, stratified(pets.y_train, 0.2, SPLIT_SEED))
        assert not test.any()

    def test_half_of_each_class_of_the_test_images(self) -> None:
        pets = raw([50, 100, 150], [10, 7, 2])
        training, test = for_validation(pets, 0.2, "test", None)
        assert not training.any()
        assert np.bincount(pets.y_test[test]).tolist() == [5, 4, 1]
        assert np.array_equal(test, for_validation(pets, 0.9, "test", None)[1])

    def test_what_is_held_out_and_nothing_else(self) -> None:
        pets = raw([5, 5, 5], [2, 2, 2])
        training, test = for_validation(pets, 0.2, "training", HeldOut((0, 7, 14)))
        assert np.flatnonzero(training).tolist() == [0, 7, 14]
        assert not test.any()

    @pytest.mark.parametrize(
        ("train", "source", "held_out"),
        [
            ([10, 2], "training", None),
            ([10, 1], "test", None),
            ([10, 3], "training", HeldOut((10, 11))),
        ],
    )
    def test_two_images_of_each_class_must_be_left_to_train_on(
        self, train: list[int], source: str, held_out: HeldOut | None
    ) -> None:
        with pytest.raises(DataError, match=r"class 1 \('dog'\) has too few training images"):
            for_validation(raw(train, [5, 5]), 0.2, source, held_out)


class TestCheck:
    """Whether there is something to measure by, and whether it is much."""

    def test_a_class_to_be_forgotten_needs_two_test_images_where_they_are_shared(self) -> None:
        pets = raw([9, 9, 9], [4, 1, 4])
        with pytest.raises(DataError) as caught:
            check(pets, 0.2, "test", None, (1,))
        told = str(caught.value)
        assert len(told.splitlines()) == 1
        assert "class 1 ('dog')" in told
        assert "--held-out FILE" in told
        check(pets, 0.2, "test", None, (0,))
        check(pets, 0.2, "training", None, (1,))
        check(raw([9, 9, 9], [4, 2, 4]), 0.2, "test", None, (1,))

    def test_so_does_what_is_retained(self) -> None:
        with pytest.raises(DataError, match="what is to be retained has too few test images"):
            check(raw([9, 9], [4, 1]), 0.2, "test", None, (0,))

    def test_each_class_to_be_forgotten_and_some_other_is_held_out(self) -> None:
        pets = raw([5, 5, 5], [2, 2, 2])
        check(pets, 0.2, "training", HeldOut((0, 5)), (0,))
        with pytest.raises(DataError, match=r"class 2 \('owl'\), which .* among those held out"):
            check(pets, 0.2, "training", HeldOut((0, 5)), (0, 2))
        with pytest.raises(DataError, match="what is to be retained has no images among"):
            check(pets, 0.2, "training", HeldOut((0, 5)), (0, 1))

    def test_few_validation_images_of_a_class_to_be_forgotten_are_told(self) -> None:
        pets = raw([95, 100, 30], [5, 5, 5])
        (line,) = check(pets, 0.2, "training", None, (0,))
        assert line.startswith("validation has only 19 images of class 0 ('cat')")
        assert "steps of 5 points" in line
        assert check(pets, 0.2, "training", None, (1,)) == []
        assert len(check(pets, 0.2, "training", None, (0, 2))) == 2
        (line,) = check(pets, 0.2, "training", HeldOut((0, 1, 2, 3, 200)), (0,))
        assert "only 4 images" in line


class TestList:
    """Files that say which training images were held out."""

    PETS = raw([2, 2, 2], [2, 2, 2], NAMES)

    @staticmethod
    def refusal(path: Path, pets: Raw) -> str:
        with pytest.raises(DataError) as caught:
            read_held_out(path, pets)
        told = str(caught.value)
        assert told.startswith(f"{path}: ")
        assert len(told.splitlines()) == 1
        return told

    @pytest.mark.parametrize(
        "text",
        [
            "1\n2\n5\n",
            "5\n1\n2",
            "1\r\n2\r\n5\r\n",
            "\ufeff 1 \n02\n5\n",
            "cat/ü.png\ndog/ 2.png\nowl/5.png\n",
            "cat/u\u0308.png\n2\nowl/5.png\n",
        ],
    )
    def test_indices_and_paths_in_any_order(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "held-out.txt"
        path.write_bytes(text.encode())
        found = read_held_out(path, self.PETS)
        assert found == HeldOut((1, 2, 5))
        assert found.fingerprint == HeldOut((1, 2, 5)).fingerprint != HeldOut((1, 2)).fingerprint

    def test_what_is_written_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "held-out.txt"
        path.write_text(HeldOut((0, 3, 5)).text())
        assert read_held_out(path, self.PETS) == HeldOut((0, 3, 5))

    def test_wrong_lines_are_counted_and_named(self, tmp_path: Path) -> None:
        path = tmp_path / "held-out.txt"
        path.write_text("1\n\n-1\n6\n1.0\ncat/ü.png\ntrain/cat/1.png\n \n4\n")
        told = self.refusal(path, self.PETS)
        assert "of 9 lines 4 unknown (line 3: '-1', line 4: '6', line 5: '1.0', ...)" in told
        assert "1 doubled (line 6: 'cat/ü.png')" in told, "by index before, by path now"
        assert "2 empty (line 2, line 8)" in told
        assert "an index from 0 to 5 or a path below train/" in told

    @pytest.mark.parametrize(
        "line", ["cat/1.png", "9" * 5_000, "²", "\u0661", "0x1", "1_0", "None"]
    )
    def test_what_is_no_index_is_unknown(self, tmp_path: Path, line: str) -> None:
        path = tmp_path / "held-out.txt"
        path.write_text(f"{line}\n", encoding="utf-8")
        told = self.refusal(path, raw([20, 20], [2, 2]))
        assert "of 1 lines 1 unknown (line 1: " in told
        assert "below train/" not in told, "an .npz has no paths"

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe1\x00", b"\x89PNG\r\n"])
    def test_a_file_that_lists_nothing_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "held-out.txt"
        path.write_bytes(content)
        self.refusal(path, self.PETS)

    def test_a_file_that_is_not_there_and_a_folder_are_refused(self, tmp_path: Path) -> None:
        self.refusal(tmp_path / "none.txt", self.PETS)
        self.refusal(tmp_path, self.PETS)

    def test_the_images_of_a_folder_have_their_paths(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            for number, name in enumerate(("owl/b.png", "cat/é.png", "cat/a.jpg")):
                path = tmp_path / part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
        found = read(str(tmp_path), tmp_path)
        assert set(found.train_paths) == {"owl/b.png", "cat/é.png", "cat/a.jpg"}
        (tmp_path / "held-out.txt").write_text("owl/b.png\n", encoding="utf-8")
        (index,) = read_held_out(tmp_path / "held-out.txt", found).indices
        assert found.classes[found.y_train[index]] == "owl"
        assert found.x_train[index].max() == 0
