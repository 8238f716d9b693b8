"""Machines that share no disk, and a disk that is really full: mount namespaces of this machine."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from search.store import results
from trainables.scenario import Places
from trainables.workbench import Workbench

pytestmark = pytest.mark.cluster

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--uts")
MOUNT = 'for folder in "$@"; do mount -t tmpfs -o "$OPTIONS" tmpfs "$folder" || exit 1; done'
KEEP = f"hostname elsewhere && {MOUNT} && echo there && exec cat"
"""Kept by the pipe to `cat`: however the test ends, the namespace and its disks end with it."""

SPEC = """
name = "{name}"
method = "finetune"
trials = {trials}
sampler = "random"

[scenario]
dataset = "{dataset}"
forget = [1]
width = 0.1
validation_fraction = 0.2
epochs = 6
batch_size = 32

[space]
epochs = {epochs}
batch_size = 32
"""

PATIENCE = 250
"""Seconds after which a command hangs."""

FINETUNING_NEEDS = ("base", "retrained", "reference")


class Namespace:
    """A view of this machine's disk in which other disks (tmpfs) lie over some folders, under
    another host name."""

    def __init__(self, keeper: int) -> None:
        self.keeper = keeper

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command begins with that is to run inside."""
        what = ("--user", "--preserve-credentials", "--mount", "--uts")
        return ("nsenter", "--target", str(self.keeper), *what)

    def path(self, path: Path) -> Path:
        """Where what `path` is inside can be seen from outside."""
        return Path(f"/proc/{self.keeper}/root{path}")


@contextmanager
def namespace(*folders: Path, options: str = "mode=700") -> Iterator[Namespace]:
    """One with a tmpfs over each of the folders, mounted with these options."""
    if sys.platform != "linux":
        pytest.skip("mount namespaces are Linux'")
    environment = {**os.environ, "OPTIONS": options}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        keeper = subprocess.Popen(
            [*UNSHARE, "sh", "-c", KEEP, "sh", *map(str, folders)], env=environment, **pipes
        )
    except FileNotFoundError:
        pytest.skip("there is no `unshare`")
    with keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        if keeper.stdout.readline() != b"there\n":
            why = keeper.stderr.read().decode().strip()
            pytest.skip(f"mount namespaces are not allowed here ({why})")
        try:
            yield Namespace(keeper.pid)
        finally:
            keeper.stdin.close()


@pytest.fixture(autouse=True)
def workers_of_our_own_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own is so low that other tests, which run at the same time, keep workers waiting."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


def forgetune(*arguments: str | Path) -> list[str]:
    run = "from search.cli import main; main()"
    return [sys.executable, "-c", run, *map(str, arguments)]


def rows(folder: Path, study: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = results.scan(folder, study).to_pylist()
    return found


# Machines that share no disk


@contextmanager
def arrivals(folder: Path) -> Iterator[Callable[[], Counter[str]]]:
    """Gives a function that counts how often a file of each name was moved into the folder, where
    nothing appears but by a move; from Linux itself (inotify), which misses none."""
    moved_to, event = 0x80, struct.Struct("iIII")
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(folder), moved_to) >= 0
    seen: Counter[str] = Counter()

    def count() -> Counter[str]:
        try:
            while content := os.read(watch, 1 << 16):
                while content:
                    *_, length = event.unpack_from(content)
                    name = content[event.size : event.size + length].rstrip(b"\0").decode()
                    seen[name] += not name.startswith(".")
                    content = content[event.size + length :]
        except BlockingIOError:
            return +seen

    try:
        yield count
    finally:
        os.close(watch)


def test_a_machine_that_shares_no_disk_runs_trials_on_what_it_is_sent_once(
    tmp_path: Path,
    root: Path,
    three_digits: Path,
    places: Places,
    bench: Workbench,
    faults: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, theirs = tmp_path / "here", tmp_path / "elsewhere"
    monkeypatch.setenv("XDG_CACHE_HOME", str(here))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for name in FINETUNING_NEEDS:
        bench.prepare(name)
    about = SPEC.format(name="apart", trials=6, dataset=three_digits, epochs=1)
    (tmp_path / "study.toml").write_text(about)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        namespace(root, tmp_path) as elsewhere,
    ):
        sent = theirs / "forgetune" / "depots" / places.artifacts.name
        elsewhere.path(sent).mkdir(parents=True)
        assert not elsewhere.path(three_digits).exists()
        assert not elsewhere.path(places.artifacts).exists()
        cluster = faults.Cluster(Path(folder))
        try:
            cluster.start(nodes=0, head_cpus=1)
            # Two workers there, which want the same files at the same time.
            cluster.add_node(2, inside=(*elsewhere.enter, "env", f"XDG_CACHE_HOME={theirs}"))
            command = forgetune("run", tmp_path / "study.toml", "--address", cluster.address)
            stores = ["--results", str(tmp_path / "results"), "--artifacts", str(places.artifacts)]
            with arrivals(elsewhere.path(sent)) as arrived:
                run = subprocess.run(
                    [*command, *stores], capture_output=True, text=True, timeout=PATIENCE
                )
                assert run.returncode == 0, run.stderr
                received = arrived()
        finally:
            cluster.stop()
        written = list(elsewhere.path(tmp_path).iterdir())
        assert written == [elsewhere.path(theirs)], "results are the driver's business"

    found = rows(tmp_path / "results", "apart")
    assert [row["number"] for row in found] == list(range(6))
    assert {row["state"] for row in found} == {"complete"}
    assert {row["host"] for row in found} == {socket.gethostname(), "elsewhere"}

    needed = {path.name for name in FINETUNING_NEEDS for path in files(bench, name)}
    data = [name for name in received if name.startswith("dataset-")]
    assert len(data) == 1
    assert received == dict.fromkeys([*needed, *data], 1)
    assert not (here / "forgetune" / "depots").exists(), "the driver's machine has it all"


def files(bench: Workbench, name: str) -> tuple[Path, Path]:
    """The artifact's."""
    return bench.shelf._store._paths(*bench.shelf.describe(name))


# A full disk


def fill(path: Path) -> None:
    """Leave not a byte on the disk that the file is to lie on."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def refusal(said: str) -> str:
    """The one line in which a command says why it could not go on."""
    assert "Traceback" not in said
    *before, last = said.splitlines()
    assert last.startswith("forgetune: ")
    assert not [line for line in before if line.startswith("forgetune: ")]
    return last


def test_a_disk_that_is_full_ends_the_study_in_one_line_and_costs_nothing_that_settled(
    tmp_path: Path, three_digits: Path, places: Places, bench: Workbench
) -> None:
    trials = 16
    for name in FINETUNING_NEEDS:
        bench.prepare(name)
    where = tmp_path / "results"
    where.mkdir()
    about = SPEC.format(name="full", trials=trials, dataset=three_digits, epochs=5)
    (tmp_path / "study.toml").write_text(about)
    arguments = forgetune("run", tmp_path / "study.toml", "--results", where)
    with namespace(where, options="size=4m") as inside:
        command = [*inside.enter, *arguments, "--artifacts", str(places.artifacts)]
        disk = inside.path(where)
        study = disk / "study=full"
        driver = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + PATIENCE
        while len(list(study.glob("trials/*.parquet"))) < 2:
            assert driver.poll() is None, "the study ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        fill(disk / "filler")
        _, said = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 2, said
        assert "No space left on device" in refusal(said)
        assert str(where) in refusal(said)
        kept = rows(disk, "full")
        assert 2 <= len(kept) < trials

        again = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert again.returncode == 2, again.stderr
        assert "No space left on device" in refusal(again.stderr)
        assert rows(disk, "full") == kept

        (disk / "filler").unlink()
        last = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert last.returncode == 0, last.stderr
        found = rows(disk, "full")
        assert [row["number"] for row in found] == list(range(trials))
        assert {row["state"] for row in found} == {"complete"}
        assert [row for row in found if row["number"] in {row["number"] for row in kept}] == kept
        assert [path.name for path in study.rglob("*.tmp")] == []
    assert list(where.iterdir()) == [], "nothing of it got to the disk below"
