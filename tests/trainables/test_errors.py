"""Errors that a person can act on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables import errors
from trainables.errors import unknown


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    text = unknown("method", "scurb", ["mugan", "scrub"], "forgetune methods")
    assert "unknown method 'scurb'; did you mean 'scrub'?" in text
    assert "mugan, scrub" in text
    assert "`forgetune methods`" in text


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    text = unknown("method", "xyzzy", ["mugan", "scrub"])
    assert text == "unknown method 'xyzzy' (possible: mugan, scrub)"


def test_at_most_twelve_names_are_listed() -> None:
    names = [f"name{index:02}" for index in range(13)]
    assert "name11, ..." in unknown("thing", "q", names)
    assert "name12" not in unknown("thing", "q", names)
    assert "..." not in unknown("thing", "q", names[:12])


@given(st.text())
def test_the_message_is_one_line_whatever_the_name(name: str) -> None:
    assert len(unknown("dataset", name, ["digits"]).splitlines()) == 1


@pytest.mark.parametrize(
    "kind",
    ["InvalidRequest", "DataError", "AccessDenied", "Diverged", "TrialTimeout", "GeneratorError"],
)
def test_every_error_raised_on_purpose_has_one_base(kind: str) -> None:
    assert issubclass(getattr(errors, kind), errors.ForgetuneError)


def test_bad_data_is_a_bad_request_and_a_bad_value() -> None:
    assert issubclass(errors.DataError, errors.InvalidRequest)
    assert issubclass(errors.InvalidRequest, ValueError)
