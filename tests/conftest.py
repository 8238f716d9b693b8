"""Fixtures: three classes of the real digits, a scenario that trains in seconds, its workbench."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import spaces
from trainables import methods
from trainables.data.sources import read
from trainables.scenario import Inversion, Places, Scenario
from trainables.workbench import Workbench


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two processes of one thread each are faster on two cores than with two threads each."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def entry_points_are_looked_up_anew() -> None:
    """Tests that pretend to have other packages installed must not see what was found before."""
    methods._theirs.cache_clear()
    spaces._theirs.cache_clear()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test session's own."""
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="session")
def places(root: Path) -> Places:
    """Data and artifacts of the test session; nothing of the user's is touched."""
    return Places(data=root / "data", artifacts=root / "artifacts")


@pytest.fixture(scope="session")
def three_digits(root: Path) -> Path:
    """The images of the digits 0, 1 and 2 as a user's own .npz file."""
    raw = read("digits", root)
    arrays = {}
    for part, images, labels in (
        ("train", raw.x_train, raw.y_train),
        ("test", raw.x_test, raw.y_test),
    ):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = images[labels < 3], labels[labels < 3]
    path = root / "three-digits.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def scenario(three_digits: Path) -> Scenario:
    """Forget the digit 1 of three: real images, a narrow model, little training."""
    return Scenario(
        dataset=str(three_digits),
        forget=(1,),
        width=0.1,
        epochs=6,
        batch_size=32,
        gan_steps=400,
        inversion=Inversion(steps=100, batch_size=32),
    )


@pytest.fixture(scope="session")
def bench(scenario: Scenario, places: Places) -> Workbench:
    """The workbench of `scenario`; artifacts are built when a test first asks for them."""
    return Workbench(scenario, places, torch.device("cpu"))


@pytest.fixture(scope="session")
def faults() -> ModuleType:
    """`benchmarks/faults.py`, which has a cluster of several nodes on this machine."""
    path = Path(__file__).parents[1] / "benchmarks" / "faults.py"
    spec = importlib.util.spec_from_file_location("faults", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["faults"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
