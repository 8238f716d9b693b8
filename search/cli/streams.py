"""Standard output that is full or closed, told in a line; a pipe that nobody reads, not at all."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

WRITING = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG}
"""What writing to standard output fails with, besides a closed pipe."""


class Closed(io.TextIOBase):
    """In place of a standard output that the caller closed (`>&-`), of which Python makes None,
    so that whatever is printed would be lost without a word."""

    def write(self, text: str) -> NoReturn:
        raise OSError(errno.EBADF, "standard output is closed")


PLACES = {
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENOTDIR),
    *(errno.ENOSPC, errno.EDQUOT),
}
"""What paths fail with that a person gave, or the folders that they lead to."""


@contextmanager
def guarded() -> Iterator[None]:
    """For a command that ends in SystemExit: what it printed has been written by then.

    Otherwise its exit code is 2, with one line on standard error, or 1 without any where the reader
    of a pipe has gone, which is how pipes end. A path that cannot be used ends in a line, too.
    """
    _open()
    try:
        yield
        _flush()
    except SystemExit as end:
        try:
            _flush()
        except OSError as error:
            _end(error, end.code)
        raise
    except OSError as error:
        if _is_ours(error):
            _end(error, None)
        if error.filename is None or error.errno not in PLACES:
            raise
        from trainables.errors import shortened

        print(
            f"forgetune: {shortened(str(error.filename))}: cannot be used ({error.strerror})",
            file=sys.stderr,
        )
        sys.exit(2)


def _open() -> None:
    """Standard streams that can be used, whatever the caller left of them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # Else the next file that is opened gets the number, and what libraries print.
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stdout is None:
        sys.stdout = Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # names of files need not be text in any encoding
        reconfigure(errors="backslashreplace")


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _is_ours(error: OSError) -> bool:
    """Whether it was the standard streams that could not be written, and no file."""
    if isinstance(error, BrokenPipeError) or (error.filename is None and error.errno in WRITING):
        return True
    try:
        _flush()
    except OSError:
        return True
    return False


def _end(error: OSError, code: Any) -> NoReturn:
    # What is left in the buffers is not tried again when the interpreter ends.
    _silence(sys.stdout)
    if isinstance(error, BrokenPipeError):
        _silence(sys.stderr)
        sys.exit(code or 1)
    try:
        print(f"forgetune: the output cannot be written ({error.strerror})", file=sys.stderr)
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)
    sys.exit(2)


def _silence(stream: Any) -> None:
    with suppress(OSError, ValueError):
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)
