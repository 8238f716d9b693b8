"""Building what trials share: how much at once, and how it ends when it cannot go on."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import cloudpickle

from search.engine import preparation
from search.engine.allotment import Allotment, allot
from search.engine.preparation import NotBuilt, prepare
from tests.search.toys import NOWHERE, only_line, toy_spec
from trainables.errors import GeneratorError

TWO_WORKERS = Allotment(cpus=1, gpus=0.0, workers=2)
LONG = 60.0
"""Seconds after which a part that nobody stops gives up."""


@pytest.fixture(scope="module", autouse=True)
def two_cpus() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=50)
    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)  # which workers cannot import
    yield
    cloudpickle.unregister_pickle_by_value(here)
    ray.shutdown()


def toy_bench(*names: str) -> Any:
    """A workbench that lacks these parts, which do not depend on each other."""
    return SimpleNamespace(
        scenario=None,
        prerequisites=lambda *_: [list(names)],
        is_prepared=lambda name: False,
    )


def until(there: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    limit = time.monotonic() + LONG
    while not there() and time.monotonic() < limit:
        time.sleep(0.02)


def parts_that(monkeypatch: pytest.MonkeyPatch, do: Callable[[str], None]) -> None:
    """Have each part be built by `do`, in a worker."""

    def part(scenario: Any, places: Any, names: list[str], *_: Any) -> dict[str, Any]:
        (name,) = names
        do(name)
        return {name: {"origin": "trained", "seconds": 1.0, "note": None}}

    monkeypatch.setattr(preparation, "prepare_part", part)


def test_no_more_parts_are_built_at_once_than_the_study_runs_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crowded(name: str) -> None:
        mine = tmp_path / f"inside-{uuid.uuid4().hex}"
        mine.touch()
        time.sleep(0.3)
        (tmp_path / f"saw-{len(list(tmp_path.glob('inside-*')))}-{name}").touch()
        mine.unlink()

    parts_that(monkeypatch, crowded)
    spec = toy_spec(concurrency=1)
    reported: list[tuple[str, int, int]] = []

    def report(name: str, found: dict[str, Any], done: int, total: int) -> None:
        reported.append((name, done, total))

    names = ["a", "b", "c", "d"]
    allotment = allot(spec)
    spent = prepare(toy_bench(*names), spec, NOWHERE, allotment, report, lambda: None)
    assert spent == dict.fromkeys(names, 1.0)
    assert [item[1:] for item in reported] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {path.name[:5] for path in tmp_path.glob("saw-*")} == {"saw-1"}


def stoppable(folder: Path, name: str) -> None:
    """Goes on until it is stopped, and notes that it was, or for long."""
    try:
        (folder / f"begun-{name}").touch()
        until(lambda: False)
    except KeyboardInterrupt:
        (folder / f"stopped-{name}").touch()
        raise


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (GeneratorError("the GAN of class 3 collapsed"), GeneratorError, "the GAN of class 3"),
        (OSError(28, "No space left on device"), NotBuilt, "bad cannot be built: OSError: "),
    ],
)
def test_a_part_that_fails_ends_the_others_in_order_and_soon(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[Exception],
    said: str,
) -> None:
    def do(name: str) -> None:
        if name == "bad":
            until(lambda: (tmp_path / "begun-slow").exists())
            raise error
        stoppable(tmp_path, name)

    parts_that(monkeypatch, do)
    bench = toy_bench("slow", "bad", "waits")
    with pytest.raises(kind) as caught:
        prepare(bench, toy_spec(), NOWHERE, TWO_WORKERS, lambda *_: None, lambda: None)
    assert only_line(str(caught.value)).startswith(said)
    assert (tmp_path / "stopped-slow").exists(), "it was stopped in a way that lets it tidy up"
    assert ray.get(ray.remote(lambda: 7).remote(), timeout=LONG) == 7

    def nothing_goes_on() -> bool:
        return not (tmp_path / "begun-waits").exists() or (tmp_path / "stopped-waits").exists()

    until(nothing_goes_on)  # Ray may tell of the end a little before it
    assert nothing_goes_on()


def test_ctrl_c_ends_the_parts_that_are_being_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_that(monkeypatch, lambda name: stoppable(tmp_path, name))

    def press() -> None:
        if (tmp_path / "begun-a").exists():
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        prepare(toy_bench("a"), toy_spec(), NOWHERE, TWO_WORKERS, lambda *_: None, press)
    assert (tmp_path / "stopped-a").exists()


def test_a_part_that_does_not_stop_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "STOP_SECONDS", 0.2)
    release = tmp_path / "release"

    def deaf(name: str) -> None:
        (tmp_path / "begun").touch()
        limit = time.monotonic() + 60
        while not release.exists() and time.monotonic() < limit:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.02)

    def full() -> None:
        if (tmp_path / "begun").exists():
            raise OSError(28, "No space left on device")

    parts_that(monkeypatch, deaf)
    try:
        with pytest.raises(OSError, match="No space left"):
            prepare(toy_bench("a"), toy_spec(), NOWHERE, TWO_WORKERS, lambda *_: None, full)
        assert not release.exists()
    finally:
        release.touch()
