"""Jobs: what may be sent, what goes with it, and one real job on a real cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.engine import jobs
from search.engine.jobs import Jobs, check_sendable
from search.store import results
from tests.search.toys import only_line
from trainables.errors import InvalidRequest
from trainables.scenario import Places


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "unknown command to send"),
        (["best", "--results", "/r"], "unknown command to send 'best'"),
        (["run"], "--results: give a URI"),
        (["run", "--results", "results"], "--results: give a URI"),
        (["run", "--results=results"], "--results: give a URI"),
        (["run", "--results", "s3://b/r", "--artifacts", "models"], "--artifacts: give a URI"),
        (["run", "--results", "s3://b/r", "--results", "here"], "--results: give a URI"),
        (
            ["run", "--results", "/r", "--save", "x.safetensors"],
            "--save x.safetensors: give a path",
        ),
        (["compare", "scrub", "--results", "/r", "--output=t.csv"], "--output t.csv: give a path"),
        (["run", "-", "--results", "s3://b/r"], "does not read this machine's standard input"),
        (["classes", "--spec=-", "--results", "s3://b/r"], "write the specification into a file"),
    ],
)
def test_what_would_be_lost_with_its_machine_is_not_sent(arguments: list[str], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        check_sendable(arguments)
    only_line(str(caught.value))


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--results", "/shared/results"],
        ["compare", "mugan", "--results=s3://b/r", "--artifacts", "gs://b/a"],
        ["prepare", "--method", "mugan"],
        ["run", "--name", "--results", "--results", "/r", "--save", "/shared/x.safetensors"],
    ],
)
def test_what_stays_is_sent(arguments: list[str]) -> None:
    check_sendable(arguments)


def test_files_that_are_named_go_along_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name, text in (("a/study.toml", "1"), ("b/study.toml", "2"), ("a/secret", "token")):
        (tmp_path / name).write_text(text)
    given = [
        *("run", str(tmp_path / "a/study.toml"), "--dataset", str(tmp_path / "b/study.toml")),
        *("--results", "s3://bucket/r", "--set", "epochs=1", str(tmp_path / "a")),
    ]
    folder = tmp_path / "packed"
    folder.mkdir()
    packed = jobs._packed(given, folder)
    assert packed == [
        *("run", "packed/study.toml", "--dataset", "packed/3-study.toml"),
        *("--results", "s3://bucket/r", "--set", "epochs=1", str(tmp_path / "a")),
    ]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "study.toml": "1",
        "3-study.toml": "2",
    }


@pytest.mark.parametrize(
    ("line", "packed"),
    [
        ("run --epochs 3 --dataset digits --method 3", ""),
        ("run --epochs=3 --set 3 --save 3", ""),
        ("run --zero-shot 3", "run --zero-shot files/3"),
        ("run --no-curves -- 3", "run --no-curves -- files/3"),
        ("run --weights=3 --held-out 3", "run --weights=files/3 --held-out files/3-3"),
        ("run --weights s3://b/3 --dataset none", ""),
        ("compare 3 --spec 3", "compare 3 --spec files/3"),
        ("sensitivity 3 --study 3", ""),
    ],
)
def test_a_file_goes_along_where_one_is_read_whatever_else_is_called_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, packed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("3", "digits", "none", "run", "compare"):
        (tmp_path / name).write_text(name)
    (tmp_path / "files").mkdir()
    assert " ".join(jobs._packed(line.split(), tmp_path / "files")) == (packed or line)


def test_a_class_that_is_called_like_a_file_stays_a_class(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "2").write_text("no class")
    word = str(tmp_path / "cats" / "2")
    for given in (["run", "--forget", word, "--target", "2"], ["run", f"--forget={word}"]):
        (tmp_path / "packed").mkdir(exist_ok=True)
        assert jobs._packed(given, tmp_path / "packed") == given
    assert not list((tmp_path / "packed").iterdir())


def test_files_that_are_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_BYTES", 3)
    (tmp_path / "x.npz").write_bytes(b"1234")
    with pytest.raises(InvalidRequest, match="may have 0 MB"):
        jobs._packed(["run", str(tmp_path / "x.npz")], tmp_path)


def test_where_nobody_answers_one_line_says_so() -> None:
    with pytest.raises(InvalidRequest, match="the cluster at http") as caught:
        Jobs("http://127.0.0.1:9").submit(["run", "--results", "/r"])
    only_line(str(caught.value))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of this machine with a job server; ports of its own, beside whatever else runs."""
    port, agent = free_port(), free_port()
    if not (Path.home() / ".ray" / "auth_token").exists():
        make = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
        subprocess.run(make, check=True, capture_output=True)
    head = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--port=0", "--num-cpus=2", "--disable-usage-stats", "--dashboard-host=127.0.0.1"),
            *(f"--dashboard-port={port}", f"--dashboard-agent-listen-port={agent}"),
            f"--temp-dir={tempfile.mkdtemp(prefix='ray-')}",  # sockets' paths must be short
        ],
        env={
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # its `python` is ours
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not listening(port):
        assert head.poll() is None, "the cluster did not start"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    head.terminate()
    try:
        head.wait(30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`forgetune` in a process of its own, as a user of a cluster with a token would call it."""
    return subprocess.run(
        [sys.executable, "-m", "search", *arguments],
        env={**os.environ, "RAY_AUTH_MODE": "token", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_study_runs_as_a_job_and_its_trials_are_there_in_the_end(
    dashboard: str, tmp_path: Path, three_digits: Path, places: Places
) -> None:
    study = tmp_path / "spaces.py"  # a file of the user's goes along, and is imported by nobody
    study.write_text(
        'name = "sent"\nmethod = "finetune"\ntrials = 2\n'
        "[scenario]\nwidth = 0.1\nepochs = 6\nbatch_size = 32\nforget = [1]\n"
        "validation_fraction = 0.2\n[space]\nepochs = 1\n"
    )
    sent = command(
        *("submit", "--dashboard", dashboard, "run", str(study)),
        *("--dataset", str(three_digits), "--results", str(tmp_path / "results")),
        *("--artifacts", str(places.artifacts)),
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "Best configuration" in sent.stdout
    name = sent.stdout.splitlines()[0]
    assert f"job {name}: succeeded" in sent.stderr
    assert results.scan(tmp_path / "results", "sent")["state"].to_pylist() == ["complete"] * 2

    token = (Path.home() / ".ray" / "auth_token").read_text().strip()
    written = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert all(token.encode() not in path.read_bytes() for path in written)
    assert token not in sent.stdout + sent.stderr

    again = command("status", "--job", name, "--dashboard", dashboard)
    assert "Best configuration" in again.stdout, "a job can be followed again"
    unknown = command("status", "--job", "nosuch", "--dashboard", dashboard)
    assert unknown.returncode == 2
    assert only_line(unknown.stderr).startswith("forgetune: unknown job 'nosuch'")
    without = command("status", "--job", name, "--dashboard", dashboard, RAY_AUTH_MODE="disabled")
    assert without.returncode == 2
    assert "asks for its token" in only_line(without.stderr)
