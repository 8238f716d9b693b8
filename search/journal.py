"""Optuna's journal on a disk that may be full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend


class Journal(JournalFileBackend):
    """Appends its lines whole or not at all. What a full disk had taken of one would spoil the next
    one, and with it the file, if there is room again before this process ends."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        before = self._path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError:
            os.truncate(self._path, before)
            raise
