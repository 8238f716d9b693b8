"""Files under a URI (s3://, gs://, ...) through Arrow's filesystems, whole or not at all.

An object store has no rename and needs none: an object appears whole when it is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from trainables.errors import InvalidRequest

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "file")

PAUSES = (0.5, 1, 2, 4, 8, 16, 30, 60)
"""Seconds between attempts at a place that does not answer: two minutes in all."""

Result = TypeVar("Result")


def is_uri(place: object) -> bool:
    """Whether a place is a URI rather than a path."""
    return "://" in str(place)


@dataclass(frozen=True)
class Listed:
    """A file that is there: its name below the place, its size in bytes, when it was written
    (seconds since 1970, as the place tells it)."""

    name: str
    size: int
    modified: float


class Remote:
    """A place under a URI. Names are paths below it, with slashes.

    Options of Arrow's filesystems can follow a question mark, as in
    `s3://bucket/results?region=eu-north-1&endpoint_override=host:9000&scheme=http`. Raises
    InvalidRequest, in one line, for a URI that is none; what does not answer is tried again for
    two minutes, and then raises OSError.
    """

    def __init__(self, uri: str) -> None:
        scheme = uri.partition("://")[0].lower()
        if scheme not in SCHEMES:
            raise InvalidRequest(
                f"{hidden(uri)}: a place is a path or a URI that begins with one of "
                f"{', '.join(f'{name}://' for name in SCHEMES)}"
            )
        self.uri = uri

    @cached_property
    def _place(self) -> tuple[Any, str]:
        import pyarrow as pa
        from pyarrow import fs

        try:
            system, path = fs.FileSystem.from_uri(self.uri)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InvalidRequest(f"{hidden(self.uri)}: {_line(error)}") from None
        return system, path.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""

        def attempt() -> bytes | None:
            system, path = self._place
            try:
                with system.open_input_stream(f"{path}/{name}") as stream:
                    content: bytes = stream.read()
            except FileNotFoundError:
                return None
            return content

        return self._patiently(attempt)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole."""

        def attempt() -> None:
            system, path = self._place
            target = f"{path}/{name}"
            if system.type_name == "local":
                # A file appears when it is renamed, on a disk that is shared too.
                from pathlib import Path

                from trainables.artifacts.files import write_whole

                Path(target).parent.mkdir(parents=True, exist_ok=True)
                write_whole(Path(target), content)
                return
            with system.open_output_stream(target) as stream:
                stream.write(content)

        self._patiently(attempt)

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""

        def attempt() -> None:
            system, path = self._place
            try:
                system.delete_file(f"{path}/{name}")
            except FileNotFoundError:
                return

        self._patiently(attempt)

    def list(self, folder: str = "") -> list[Listed]:
        """All files in a folder and below it; none if it is not there."""

        def attempt() -> list[Listed]:
            from pyarrow import fs

            system, path = self._place
            below = f"{path}/{folder}".rstrip("/")
            found = system.get_file_info(
                fs.FileSelector(below, recursive=True, allow_not_found=True)
            )
            return [
                Listed(info.path[len(path) + 1 :], info.size, info.mtime.timestamp())
                for info in found
                if info.type == fs.FileType.File
            ]

        return self._patiently(attempt)

    def check(self) -> None:
        """Raises InvalidRequest if the place cannot be listed: wrong credentials, no such bucket,
        nobody there."""
        from pyarrow import fs

        system, path = self._place
        if not path:
            raise InvalidRequest(f"{hidden(self.uri)} names no bucket")
        try:
            system.get_file_info(fs.FileSelector(path, allow_not_found=True))
            bucket = system.get_file_info(path.partition("/")[0] or "/")
        except OSError as error:
            raise InvalidRequest(f"{hidden(self.uri)} cannot be reached: {_line(error)}") from None
        if bucket.type == fs.FileType.NotFound:
            raise InvalidRequest(f"{hidden(self.uri)}: there is no bucket {bucket.path}")

    def _patiently(self, attempt: Callable[[], Result]) -> Result:
        for pause in self._pauses():
            try:
                return attempt()
            except PermissionError:
                raise
            except OSError:
                time.sleep(pause)
        return attempt()

    @staticmethod
    def _pauses() -> Iterator[float]:
        yield from PAUSES


def hidden(uri: str) -> str:
    """A URI without the user, the password and the keys that may stand in it, for messages."""
    scheme, _, rest = uri.partition("://")
    place, question, options = rest.partition("?")
    place = place.rpartition("@")[2] if "@" in place.partition("/")[0] else place
    kept = [part for part in options.split("&") if not _secret(part)]
    return f"{scheme}://{place}" + (question + "&".join(kept) if kept and options else "")


def _secret(option: str) -> bool:
    return any(word in option.partition("=")[0].lower() for word in ("key", "secret", "token"))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
