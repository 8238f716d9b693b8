"""Optuna's journal, for one writer and a disk that may be full."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from optuna.storages.journal import (
    BaseJournalBackend,
    JournalFileBackend,
    JournalFileSymlinkLock,
)


class Journal(JournalFileBackend):
    """Appends its lines whole or not at all. What a full disk had taken of one would spoil the next
    one, and with it the file, if there is room again before this process ends.

    Does not wait for the disk with each line, as Optuna's own does, ten times for a trial: what a
    failing power supply takes of the journal is in the rows.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._guard = path, JournalFileSymlinkLock(str(path))
        super().__init__(str(path), self._guard)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = _lines(logs)
        self._guard.acquire()
        try:
            before = self._path.stat().st_size
            try:
                with self._path.open("ab") as file:
                    file.write(lines)
            except OSError:
                os.truncate(self._path, before)
                raise
        finally:
            self._guard.release()


class Draft(BaseJournalBackend):
    """A journal that is not on disk yet."""

    def __init__(self) -> None:
        self._logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        # As it would come from a file, where it shares nothing with who wrote it.
        self._logs += map(json.loads, _lines(logs).splitlines())

    def content(self) -> bytes:
        """What is to be its file."""
        return _lines(self._logs)


def repair(path: Path) -> list[str]:
    """Mend a journal that was torn, or set it aside if it is damaged; notes on what was done.

    A torn last line would break Optuna at the next append; a bad one breaks it at once. Only for
    who holds the study. Raises OSError.
    """
    notes = []
    if path.exists():
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with path.open("r+b") as file:
                file.truncate(len(whole))
            notes.append(f"{path}: the last line was torn and was dropped")
        try:
            for line in whole.splitlines():
                json.loads(line)
        except ValueError:
            aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
            path.rename(aside)
            notes.append(f"{path}: damaged; set aside as {aside.name} and rebuilt")
    # We hold the study, so a lock of Optuna's own that lies here belongs to nobody alive.
    for leftover in path.parent.glob(f"{path.name}.lock*"):
        leftover.unlink()
    return notes


def _lines(logs: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
