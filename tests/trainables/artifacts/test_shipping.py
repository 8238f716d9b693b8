"""Taking a scenario to a machine that does not see the driver's disk."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainables.toys import same, state
from trainables.artifacts.remote import Remote
from trainables.artifacts.shipping import pack, unmark, unpack
from trainables.data.sources import read
from trainables.errors import DataError
from trainables.scenario import Places, Scenario
from trainables.workbench import Workbench, save_model

CPU = torch.device("cpu")


@pytest.fixture
def depot(tmp_path: Path) -> Remote:
    (tmp_path / "shared").mkdir()
    return Remote(f"file://{tmp_path}/shared")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The other machine's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


def test_who_sees_the_drivers_disk_uses_it(
    scenario: Scenario, places: Places, depot: Remote, elsewhere: Path
) -> None:
    shipment = pack(scenario, places, depot)
    assert unpack(shipment) == (scenario, places, None)
    assert not elsewhere.exists()
    unmark(shipment)
    assert not (places.artifacts / shipment.mark).exists()


def test_a_machine_of_its_own_gets_data_and_models_once(
    bench: Workbench,
    scenario: Scenario,
    places: Places,
    depot: Remote,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipment = pack(scenario, places, depot)
    unmark(shipment)  # so that this machine looks like another one
    fetched: list[str] = []
    real = Remote.read

    def counting(self: Remote, name: str) -> bytes | None:
        fetched.append(name)
        return real(self, name)

    monkeypatch.setattr(Remote, "read", counting)
    there, here, source = unpack(shipment)
    assert unpack(shipment)[0] == there
    assert source is depot
    assert fetched == [shipment.dataset], "once, however often it is unpacked"
    assert here.artifacts.is_relative_to(elsewhere)
    assert there == replace(scenario, dataset=there.dataset)
    assert Path(there.dataset).is_relative_to(elsewhere)
    mine, theirs = (read(item.dataset, places.data) for item in (scenario, there))
    assert theirs.fingerprint == mine.fingerprint
    assert theirs.classes == mine.classes

    for name in ("base", "retrained"):  # as the driver's side sends what it built
        kind, description = bench.shelf.describe(name)
        for path in bench.shelf._store._paths(kind, description):
            bench.shelf.obtain(name)
            depot.write(path.name, path.read_bytes())
    foreign = Workbench(there, here, CPU, source)
    assert foreign.is_prepared("base")
    assert foreign.prepare("base")["origin"] == "cached", "nothing is trained twice"
    assert same(state(foreign.base), state(bench.base))
    assert foreign.prepare("retrained")["origin"] == "cached"


def test_given_weights_go_along(
    bench: Workbench, scenario: Scenario, places: Places, depot: Remote, elsewhere: Path
) -> None:
    path = elsewhere.parent / "base.safetensors"
    save_model(bench.base, path, (8, 8))
    shipment = pack(replace(scenario, weights=str(path)), places, depot)
    unmark(shipment)
    there, _, _ = unpack(shipment)
    assert there.weights is not None
    assert Path(there.weights).is_relative_to(elsewhere)
    assert Path(there.weights).read_bytes() == path.read_bytes()


def test_a_list_of_what_was_held_out_goes_along_by_index(
    three_digits: Path, scenario: Scenario, places: Places, depot: Remote, elsewhere: Path
) -> None:
    """A folder of images travels as arrays, which have no paths."""
    folder, listed = elsewhere.parent / "images", elsewhere.parent / "held-out.txt"
    for part in ("train", "test"):
        for number in range(12):
            path = folder / part / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), number, np.uint8)).save(path)
    listed.write_text("a/10.png\nb/3.png\n")
    asked = replace(scenario, dataset=str(folder), forget=(1,), held_out=str(listed))
    shipment = pack(asked, places, depot)
    unmark(shipment)
    there, here, source = unpack(shipment)
    assert there.held_out is not None
    assert Path(there.held_out).is_relative_to(elsewhere)
    listed.unlink()
    shutil.rmtree(folder)
    bench = Workbench(there, here, CPU, source)
    pixels = ((bench.dataset.validation.images + 1) * 127.5).round()[:, 0, 0, 0]
    assert sorted(pixels.tolist()) == [3, 10]
    assert len(bench.dataset.train) == 10


def test_a_list_of_what_was_held_out_counts_by_its_content(
    scenario: Scenario, places: Places, depot: Remote, elsewhere: Path
) -> None:
    listed = elsewhere.parent / "held-out.txt"
    listed.write_text("300\n5\n200\n")
    asked = replace(scenario, held_out=str(listed))
    shipment = pack(asked, places, depot)
    unmark(shipment)
    there, here, source = unpack(shipment)
    for name in ("base", "retrained", "reference", "gan 0"):
        mine = Workbench(asked, places, CPU).shelf.describe(name)
        assert Workbench(there, here, CPU, source).shelf.describe(name) == mine


def test_what_the_depot_no_longer_has_is_named(
    scenario: Scenario, places: Places, depot: Remote, elsewhere: Path
) -> None:
    shipment = pack(scenario, places, depot)
    unmark(shipment)
    assert shipment.dataset is not None
    depot.delete(shipment.dataset)
    with pytest.raises(DataError, match=shipment.dataset):
        unpack(shipment)
