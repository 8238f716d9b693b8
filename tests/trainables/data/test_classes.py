"""Classes by number and by name, over names that look like something else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.classes import (
    checked_names,
    index_of,
    indices_of,
    labelled,
    listing,
    numbered,
    same,
    short,
    typed,
)
from trainables.errors import DataError, InvalidRequest

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
SHIFTED = ("1", "2", "3", "4")
"""Names that are numbers, but of the next class."""

names = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.integers(-3, 12).map(str),
        st.sampled_from([" 1", "01", "1..3", "a,b", "[red]", COMPOSED, DECOMPOSED, "ca", "cat"]),
    ),
    min_size=2,
    max_size=9,
    unique_by=same,
)


class TestIndices:
    """What a request means: a whole number is an index, a string is a name."""

    def test_a_number_is_an_index_also_where_a_class_is_named_so(self) -> None:
        assert indices_of([1], SHIFTED, "it") == (1,)
        assert indices_of(["1"], SHIFTED, "it") == (0,)
        assert indices_of([np.int64(3), "2"], SHIFTED, "it") == (1, 3)

    @given(names, st.data())
    def test_what_is_resolved_stays_what_it_is(self, names: list[str], data: st.DataObject) -> None:
        label = data.draw(st.integers(0, len(names) - 1))
        assert indices_of([names[label]], names, "it") == (label,)
        assert indices_of(indices_of([names[label]], names, "it"), names, "it") == (label,)

    @given(names, st.data())
    def test_of_words_the_names_mean_the_classes_of_those_names(
        self, names: list[str], data: st.DataObject
    ) -> None:
        label = data.draw(st.integers(0, len(names) - 1))
        assert indices_of(typed([names[label]], names), names, "it") == (label,)

    def test_names_are_the_same_in_any_unicode_form_and_without_outer_spaces(self) -> None:
        known = ("tea", f" {COMPOSED}", "milk ")
        assert [index_of(text, known, "it") for text in (DECOMPOSED, "milk", " tea ")] == [1, 2, 0]

    def test_a_name_that_is_exactly_so_goes_before_one_that_is_alike(self) -> None:
        alike = ("cat", " cat", "cat ")
        assert [index_of(name, alike, "it") for name in alike] == [0, 1, 2]
        with pytest.raises(InvalidRequest, match=r"several classes of it: 0 .*, 1 .*, 2 "):
            index_of("  cat", alike, "it")

    def test_a_part_of_a_name_is_no_name(self) -> None:
        assert index_of("cat", ("cats", "cat"), "it") == 1
        with pytest.raises(InvalidRequest, match="unknown class of it 'ca'"):
            index_of("ca", ("cats", "cat"), "it")

    @pytest.mark.parametrize("item", [True, False, np.True_, 1.0, None, b"1", [1]])
    def test_what_is_neither_number_nor_name_is_refused(self, item: object) -> None:
        with pytest.raises(InvalidRequest, match="whole number, which is an index, or a name"):
            index_of(item, SHIFTED, "it")

    @pytest.mark.parametrize("number", [-1, 4, 10**30])
    def test_a_number_out_of_range_names_the_range(self, number: int) -> None:
        with pytest.raises(InvalidRequest, match=rf"class {number} is out of range.*0 to 3"):
            index_of(number, SHIFTED, "it")

    def test_an_index_out_of_range_that_is_a_name_is_told_so(self) -> None:
        with pytest.raises(InvalidRequest, match="named so is '4', a string"):
            index_of(4, SHIFTED, "it")

    def test_a_number_in_a_string_that_is_no_name_is_told_how_to_be_an_index(self) -> None:
        with pytest.raises(InvalidRequest, match="class of this index is 1, without quotes"):
            index_of("1", ("cat", "dog"), "it")

    def test_the_classes_that_there_are_are_told_by_number_and_name(self) -> None:
        with pytest.raises(InvalidRequest, match=r"possible: 0 \('cat'\), 1, 2 \('0'\)"):
            index_of("owl", ("cat", "1", "0"), "it")
        assert listing(numbered(14)).endswith("10, 11, ...")


class TestWords:
    """Words of a command line, where alone a name goes before a number."""

    def test_a_name_goes_before_a_number_and_else_digits_are_an_index(self) -> None:
        assert typed(["2", "0", "cat"], SHIFTED) == ["2", 0, "cat"]
        assert typed(["-1", "-2"], ("-1", "x")) == ["-1", -2]
        assert typed(["03", " 3 ", "3"], ("a", "b")) == [3, 3, 3]

    @pytest.mark.parametrize(
        "word", ["", "-", "1.0", "1,2", "0x1", "²", "٣", "--1", "1_0", "9" * 99]
    )
    def test_other_words_are_names(self, word: str) -> None:
        assert typed([word], SHIFTED) == [word]


class TestNames:
    """Class names as a dataset has them."""

    def test_bytes_are_text_and_numbers_are_written_out(self) -> None:
        assert checked_names("it", [COMPOSED.encode(), "x", 3]) == (COMPOSED, "x", "3")

    @pytest.mark.parametrize("name", [b"\xff\xfe", "\udcff"])
    def test_what_is_no_utf8_text_is_refused(self, name: object) -> None:
        with pytest.raises(DataError, match=r"^it: the class name .* is not UTF-8 text"):
            checked_names("it", ["cat", name])

    @pytest.mark.parametrize("second", ["caf\u00e9", "cafe\u0301", " caf\u00e9", "caf\u00e9\n"])
    def test_doubled_names_are_refused_with_the_names(self, second: str) -> None:
        with pytest.raises(DataError) as caught:
            checked_names("it", [COMPOSED, "tea", second])
        assert f"alike are 0 ('{COMPOSED}'), 2 (" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    @given(names)
    def test_other_names_stay_as_they_are(self, names: list[str]) -> None:
        assert checked_names("it", names) == tuple(names)


class TestShown:
    """How a class is called where people read it."""

    def test_a_name_stands_beside_the_number_unless_it_is_the_number(self) -> None:
        assert labelled([1], SHIFTED) == "class 1 ('2')"
        assert labelled([3], numbered(10)) == "class 3"
        assert labelled([3]) == "class 3"
        assert labelled([0, 1, 3], ("0", "dog", "x", "[red]")) == (
            "classes 0, 1 ('dog') and 3 ('[red]')"
        )

    @given(names)
    def test_a_label_is_one_printable_line(self, names: list[str]) -> None:
        assert all(short(label, names).isprintable() for label in range(len(names)))
