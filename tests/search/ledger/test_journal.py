"""Optuna's journal on a disk that takes a part of a line and has room again a moment later."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search.store import results
from tests.search.toys import only_line, open_ledger, settle, stored
from trainables.errors import InvalidRequest


@contextmanager
def room_for(path: Path, more: int) -> Iterator[None]:
    """While this is open the file can grow by so many bytes: the rest of what is written is refused
    by the kernel, as on a full disk."""
    import resource

    _, most = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on files")
@pytest.mark.parametrize("more", [0, 1, 20])
def test_a_line_that_is_written_in_part_does_not_spoil_the_next(tmp_path: Path, more: int) -> None:
    journal = results.study_folder(tmp_path, "toy") / "journal.log"
    with open_ledger(tmp_path) as ledger:
        settle(ledger, 2)
        before = journal.read_bytes()
        with pytest.raises(InvalidRequest) as caught, room_for(journal, more):
            ledger.ask()
        assert "cannot be written" in only_line(str(caught.value))
        assert journal.read_bytes() == before
        settle(ledger)
        assert ledger.finished
    with open_ledger(tmp_path) as ledger:
        assert ledger.notes == []
        assert ledger.finished
    assert [row["number"] for row in stored(tmp_path)] == [0, 1, 2, 3, 4, 5]
