"""Results under a URI: a copy on this machine, which all else works on, kept in step.

A study's files are written here first and then there; a trial counts as settled when its row is in
both. What a machine had not sent when it was cut off, it sends when it is asked again. A lease in
place of a lock says who runs a study, and expires with its holder.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainables.artifacts.files import write_whole
from trainables.artifacts.remote import Remote, hidden, is_uri
from trainables.errors import InvalidRequest
from trainables.scenario import cache_folder

ORIGIN = ".origin"
"""File at the top of a copy that holds its URI."""

SYNCED = ".synced"
"""File at the top of a copy with the names of all files that stand in both places."""

LEASE = "lease.json"
LEASE_SECONDS = 60.0
RENEW_SECONDS = 15.0
SETTLING_SECONDS = 1.0
"""A lease holds for so long after it was renewed, is renewed so often, and is looked at again so
long after it was taken, in case another driver took it at the same moment."""

LEASE_BYTES = 512

LOCAL_ONLY = ("lock", "running.json", "journal.log", LEASE)
"""What has no meaning elsewhere: the journal is rebuilt from the rows."""


def locate(place: Path | str) -> Path:
    """The folder in which the results at `place` can be worked on: itself, or, for a URI, its copy
    on this machine, brought up to date.

    Raises InvalidRequest if the URI cannot be reached.
    """
    if not is_uri(place):
        return Path(place)
    uri = str(place).rstrip("/")
    remote = Remote(uri)
    remote.check()
    root = cache_folder() / "results" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    try:
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)  # a URI may have keys in it
        write_whole(root / ORIGIN, uri.encode())
        Mirror(root, remote).pull()
    except OSError as error:
        raise InvalidRequest(f"{hidden(uri)} cannot be read ({error})") from None
    return root


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that a file or folder belongs to, if it lies in one."""
    for folder in (path, *path.parents):
        if (folder / ORIGIN).is_file():
            return Mirror(folder, Remote((folder / ORIGIN).read_text()))
    return None


def place_of(folder: Path) -> str:
    """Where results are for people: the URI of a mirrored folder, else its path."""
    mirror = mirror_of(folder)
    if mirror is None:
        return str(folder)
    below = mirror.name(folder)
    uri, question, options = hidden(mirror.remote.uri).partition("?")
    return (uri if below == "." else f"{uri}/{below}") + question + options


def put(path: Path, content: bytes) -> None:
    """Write a file of results whole, here and, in a mirror, there. Raises OSError."""
    write_whole(path, content)
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.push(path)


def remove(path: Path) -> None:
    """Delete a file of results, there and here. Raises OSError."""
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.delete(path)
    path.unlink()


def move(path: Path, target: Path) -> None:
    """Rename a file of results, here and there. Raises OSError."""
    path.rename(target)
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.push(target)
        mirror.delete(path)


class Mirror:
    """A copy of what stands under a URI."""

    def __init__(self, root: Path, remote: Remote) -> None:
        self.root = root
        self.remote = remote

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def pull(self) -> None:
        """Bring the copy up to date: fetch what is new, send what was not sent, drop what is gone.

        Raises OSError.
        """
        synced, busy = self._synced(), self._busy()
        there = {item.name: item for item in self.remote.list()}
        for name, item in there.items():
            path = self.root / name
            if not _plain(name) or path.name in LOCAL_ONLY or busy & {*path.parents}:
                continue
            here = path.stat() if path.is_file() else None
            if here is not None and here.st_size == item.size and here.st_mtime >= item.modified:
                continue
            content = self.remote.read(name)
            if content is not None:  # else it was deleted meanwhile
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, content)
                self._note(name)
        for path in self._files():
            name = self.name(path)
            if name in there or busy & {*path.parents}:
                continue
            if name in synced:
                path.unlink(missing_ok=True)
            else:
                self.push(path)

    def push(self, path: Path) -> None:
        """Send a file. Raises OSError if its place does not answer for minutes."""
        name = self.name(path)
        self.remote.write(name, path.read_bytes())
        self._note(name)

    def delete(self, path: Path) -> None:
        self.remote.delete(self.name(path))

    def _busy(self) -> set[Path]:
        """Folders of studies that a process here runs: they are ahead of what stands there."""
        found = set()
        for lock in self.root.rglob("lock"):
            try:
                with FileLock(lock, timeout=0):
                    pass
            except Timeout:
                found.add(lock.parent)
        return found

    def _files(self) -> list[Path]:
        return [
            path
            for path in self.root.rglob("*")
            if path.is_file()
            and not path.name.startswith(".")
            and ".lock" not in path.name
            and path.name not in LOCAL_ONLY
        ]

    def _synced(self) -> set[str]:
        path = self.root / SYNCED
        return set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()

    def _note(self, name: str) -> None:
        with (self.root / SYNCED).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")


def _plain(name: str) -> bool:
    """Whether a name from elsewhere stays in the folder that it is put into."""
    parts = name.split("/")
    return ".." not in parts and "" not in parts and "\0" not in name and "\\" not in name


@dataclass(frozen=True)
class Holder:
    """Who runs a study: `pid` on `host`, last heard of so many seconds ago."""

    pid: int
    host: str
    age: float


class Lease:
    """The right to run a study whose results stand under a URI, renewed until it is released.

    Whether one has expired is told by this machine's clock and its holder's, which must agree to
    well within LEASE_SECONDS. `lost` says that another driver took it while this one was silent.
    """

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        self._name = f"{mirror.name(folder)}/{LEASE}"
        self._remote = mirror.remote
        self._id = uuid.uuid4().hex
        self._ended = threading.Event()
        self.lost = False
        self._thread = threading.Thread(target=self._renew_on, daemon=True)

    def acquire(self) -> Holder | None:
        """Take the lease; whoever holds it instead. Raises OSError."""
        holder = self.holder()
        if holder is not None:
            return holder
        self._write()
        time.sleep(SETTLING_SECONDS)
        if (self._read() or {}).get("id") != self._id:
            return self.holder() or Holder(0, "another machine", 0.0)
        self._thread.start()
        return None

    def holder(self) -> Holder | None:
        """Who holds it, unless it has expired."""
        found = self._read()
        if found is None:
            return None
        try:
            age = time.time() - float(found["renewed"])
            holder = Holder(int(found["pid"]), str(found["host"]), age)
        except (KeyError, TypeError, ValueError):
            return None
        return holder if age < LEASE_SECONDS else None

    def release(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if (self._read() or {}).get("id") == self._id:
            self._remote.delete(self._name)

    def _read(self) -> dict[str, Any] | None:
        content = self._remote.read(self._name)
        try:
            found = json.loads(content or b"null")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _write(self) -> None:
        mine = {"id": self._id, "pid": os.getpid(), "host": socket.gethostname()}
        # Of one length always: Arrow asks for an object's length and then for its content, and one
        # that was replaced by a longer one in between would be cut.
        content = json.dumps({**mine, "renewed": time.time()}).ljust(LEASE_BYTES)
        self._remote.write(self._name, content.encode())

    def _renew_on(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                theirs = (self._read() or {}).get("id", self._id)
                if theirs != self._id:
                    self.lost = True
                    return
                self._write()
            except OSError:
                continue  # the next row that cannot be written stops the study
