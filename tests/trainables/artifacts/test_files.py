"""Writing files whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainables.artifacts.files import check_weights_name, write_whole
from trainables.errors import InvalidRequest


def test_the_content_arrives_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"a long first content")
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_only_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "file", []
    sync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(path.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_whole(path, b"content")
    assert seen == [False]


def test_a_name_as_long_as_names_can_be_will_do(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_pipe_or_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert pipe.is_fifo()
    with pytest.raises(OSError, match="No space"):
        write_whole(Path("/dev/full"), b"content")


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w", ".safetensors", "w.safetensors.gz", "w."])
def test_weights_have_the_name_of_what_they_are(name: str) -> None:
    with pytest.raises(InvalidRequest, match="give a name that ends in"):
        check_weights_name(Path(name))
    check_weights_name(Path("w.pt.safetensors"))
