"""Who runs a study: one process of this machine, and one of all that see its results."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout

from search.store import results
from search.store.mirror import LEASE_SECONDS, Lease, mirror_of
from trainables.artifacts.files import write_whole
from trainables.errors import ForgetuneError


class StudyHeld(ForgetuneError):
    """Another process is running this study."""


class Hold:
    """The right to run the study in `folder`, taken and released.

    A lock holds off this machine's other processes, and goes with its holder, however that dies.
    Of results that other machines see a lease does, too.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.lease: Lease | None = None
        self._folder = folder
        self._name = name
        self._note = folder / "running.json"
        self.lock = FileLock(folder / "lock")

    def take(self) -> None:
        """Raises StudyHeld if another process has it, OSError if the folder cannot be used."""
        try:
            # The kernel drops the lock with its holder, however that died.
            self.lock.acquire(timeout=0.2)  # `status` takes it for a moment
        except Timeout:
            who = results.load_json(self._note) or {}
            raise StudyHeld(
                f"study {self._name} is being run by process {who.get('pid', '?')} on "
                f"{who.get('host', '?')}; wait for it, or give this one another --name"
            ) from None
        running = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        try:
            write_whole(self._note, json.dumps(running).encode())
            self._take_lease()
        except BaseException:
            self.lock.release()
            raise

    def _take_lease(self) -> None:
        """Of results that other machines see, a lock of this one holds nobody off."""
        mirror = mirror_of(self._folder)
        if mirror is None:
            return
        lease = Lease(self._folder, mirror)
        held = lease.acquire()
        if held is not None:
            raise StudyHeld(
                f"study {self._name} is being run by process {held.pid} on {held.host} (heard of "
                f"{held.age:.0f} s ago); wait for it, or, if it is gone, until it has been silent "
                f"for {LEASE_SECONDS:.0f} s"
            )
        self.lease = lease

    def check(self) -> None:
        """Raises StudyHeld if another machine's driver has taken the study over."""
        if self.lease is not None and self.lease.lost:
            raise StudyHeld(
                f"study {self._name} was silent for so long that another driver took it over; what "
                "had settled is kept"
            )

    def withdraw(self) -> None:
        """Take back the note of who runs the study; it is held all the same."""
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)

    def release(self) -> None:
        if self.lease is not None:
            with contextlib.suppress(OSError):
                self.lease.release()
        self.lock.release()


logging.getLogger("filelock").setLevel(logging.ERROR)
