"""Ray's start and end: what workers may import, what it leaves behind, what keeps it from starting.

What a study of its own Ray does is run once, from another program, in a folder full of traps.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from search.engine import connection
from search.engine.connection import connected, kept, start_ray
from search.engine.machines import Fleet, MachineRefused
from search.store import results
from tests.search.toys import hostile, only_line
from trainables.errors import InvalidRequest
from trainables.scenario import Places

# Another program, another folder


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A folder in which everything that could be imported by mistake is a trap."""
    packages = ["search", "spaces", "trainables", "forgetune", "torch", "numpy", "ray", "optuna"]
    packages += ["pyarrow", "yaml", "psutil", "grpc", "click", "pydantic", "scipy", "sklearn"]
    names = {*packages, *sys.stdlib_module_names}
    return hostile(tmp_path / "traps", [f"{name}.py" for name in sorted(names)])


STUDY = """
method = "finetune"
trials = 2
[scenario]
dataset = "{dataset}"
forget = [1]
width = 0.1
epochs = 6
batch_size = 32
[space]
epochs = 1
"""


@pytest.fixture
def study(traps: Path, three_digits: Path) -> Path:
    path = traps / "study.toml"
    path.write_text(STUDY.format(dataset=three_digits))
    return path


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("RAY_")}
    done = subprocess.run(
        command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_command_and_its_workers_import_nothing_of_the_current_folder(
    traps: Path, study: Path, places: Places
) -> None:
    command = [str(Path(sys.executable).with_name("forgetune")), "run", study.name]
    run([*command, "--artifacts", str(places.artifacts)], traps)
    assert not (traps / "imported").exists()
    assert results.scan(traps / "results")["state"].to_pylist() == ["complete"] * 2


IN_THREADS = """
import asyncio, sys, threading
from pathlib import Path
import ray
from search import Study
from trainables import Places

def run(name):
    places = Places(artifacts=Path(sys.argv[1]))
    study = Study.from_toml("study.toml", {"name": name, "trials": 1}, places=places)
    print(name, study.run(), ray.is_initialized(), flush=True)

for name in ("first", "second"):
    thread = threading.Thread(target=run, args=(name,))
    thread.start()
    thread.join()
asyncio.run(asyncio.to_thread(run, "third"))
"""


def test_a_program_that_runs_studies_in_threads_ends(
    traps: Path, study: Path, places: Places, tmp_path: Path
) -> None:
    program = tmp_path / "elsewhere" / "program.py"
    program.parent.mkdir()
    program.write_text(IN_THREADS)
    done = run([sys.executable, str(program), str(places.artifacts)], traps)
    assert done.stdout.splitlines() == [f"{n} True False" for n in ("first", "second", "third")]
    assert done.stderr == ""
    assert not (traps / "imported").exists()


# Whose it is, and who ends it


class Pretence:
    """Ray as far as its start and end go."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.up = False

    def start(self, *_: object) -> None:
        self.calls.append("start")
        self.up = True

    def shutdown(self) -> None:
        self.calls.append("end")
        self.up = False


@pytest.fixture
def pretence(monkeypatch: pytest.MonkeyPatch) -> Pretence:
    found = Pretence()
    monkeypatch.setattr(ray, "is_initialized", lambda: found.up)
    monkeypatch.setattr(ray, "shutdown", found.shutdown)
    monkeypatch.setattr(connection, "start_ray", found.start)
    return found


def test_what_was_started_is_ended_each_time(pretence: Pretence) -> None:
    for _ in range(2):
        with connected():
            assert pretence.up
    assert pretence.calls == ["start", "end"] * 2


def test_what_was_started_is_ended_whatever_ctrl_c_meanwhile(
    pretence: Pretence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shutdown() -> None:
        signal.raise_signal(signal.SIGINT)
        pretence.shutdown()

    monkeypatch.setattr(ray, "shutdown", shutdown)
    with pytest.raises(KeyboardInterrupt, match="the first"), connected():
        raise KeyboardInterrupt("the first")
    assert pretence.calls == ["start", "end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_is_kept_serves_all_and_is_started_when_it_is_needed(pretence: Pretence) -> None:
    with kept():
        assert pretence.calls == []
        for _ in range(2):
            with kept(), connected():
                assert pretence.up
        assert pretence.calls == ["start"]
    assert pretence.calls == ["start", "end"]


def test_one_that_the_process_had_stays(pretence: Pretence) -> None:
    pretence.up = True
    with connected():
        pass
    assert pretence.calls == []


@pytest.mark.parametrize("error", [InvalidRequest("x"), KeyboardInterrupt()])
def test_nothing_is_left_behind_by_an_error(pretence: Pretence, error: BaseException) -> None:
    with pytest.raises(type(error)), kept(), connected():
        raise error
    assert pretence.calls == ["start", "end"]
    with connected():
        assert pretence.up


def test_nothing_is_left_behind_by_an_interrupted_start(
    pretence: Pretence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*_: object) -> None:
        pretence.start()
        raise KeyboardInterrupt

    monkeypatch.setattr(connection, "start_ray", half)
    with pytest.raises(KeyboardInterrupt), connected():
        pass
    assert pretence.calls == ["start", "end"]


def test_threads_take_turns(pretence: Pretence) -> None:
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with connected():
            inside.set()
            leave.wait(60)

    def second() -> None:
        with connected():
            pass

    threads = [threading.Thread(target=each) for each in (first, second)]
    threads[0].start()
    assert inside.wait(60)
    threads[1].start()
    threads[1].join(0.2)
    assert pretence.calls == ["start"]
    leave.set()
    for thread in threads:
        thread.join(60)
    assert pretence.calls == ["start", "end"] * 2


# Where it cannot start


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not started Ray."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a program that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:9", "127.0.0.1:{mute}", "localhost:{mute}", "head", ":6379", "h:99999"),
        *("http://127.0.0.1:8265", "nosuchhost.invalid:6379", "[::1]", "two words:6379", "h:x"),
    ],
)
def test_where_no_ray_is_one_line_says_so_soon(
    address: str, mute: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would look for half a minute"))
    where = address.format(mute=mute)
    for given, variable in ((where, ""), (None, where)):
        monkeypatch.setenv("RAY_ADDRESS", variable)
        with pytest.raises(InvalidRequest, match="no Ray cluster at") as caught:
            start_ray(given)
        assert "give HOST:PORT" in only_line(str(caught.value))
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_rays_files_go_where_the_paths_of_its_sockets_are_short_enough(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path("/tmp/s")
    monkeypatch.setattr(connection, "LONGEST", len(str(tmp_path)) + len("/ray"))
    monkeypatch.setenv(variable, str(tmp_path))
    assert connection._folder() == str(tmp_path / "ray")
    for unusable in (tmp_path / "x", Path("/proc/none")):
        monkeypatch.setenv(variable, str(unusable))
        assert connection._folder() == "/tmp/ray"
    monkeypatch.setattr(connection, "LONGEST", len(str(short)) - 1)
    with pytest.raises(InvalidRequest, match="set RAY_TMPDIR") as caught:
        connection._folder()
    only_line(str(caught.value))


def test_the_longest_folder_is_what_ray_still_takes() -> None:
    from ray._private.utils import validate_socket_filepath

    session = "/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
    validate_socket_filepath("x" * connection.LONGEST + session)
    with pytest.raises(OSError, match="AF_UNIX"):
        validate_socket_filepath("x" * (connection.LONGEST + 1) + session)


# Another's Ray


def test_foreign_modules_that_anothers_workers_would_import_are_found_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hostile(tmp_path, ["trainables.py", "torch.py"])
    monkeypatch.chdir(folder)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=50)
    try:
        with pytest.raises(MachineRefused, match="cannot run trials") as caught:
            Fleet().check()
    finally:
        ray.shutdown()
    assert f"'trainables' found at {folder / 'trainables.py'} " in only_line(str(caught.value))
    assert not (folder / "imported").exists()
