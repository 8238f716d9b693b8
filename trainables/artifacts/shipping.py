"""Taking a scenario to machines that do not share the driver's disk.

The driver packs what a scenario refers to by path; a worker that does not see the driver's disk
unpacks it, once for each machine, into a folder of its own. Artifacts follow through the store.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from trainables.artifacts.files import write_whole
from trainables.artifacts.store import Depot
from trainables.data.sources import Raw, read
from trainables.data.splits import read_held_out
from trainables.errors import DataError
from trainables.models.weights import inspect
from trainables.scenario import NO_DATASET, Places, Scenario, cache_folder

INSIDE = ("digits",)
"""Datasets that every machine has, since they come with the packages."""


@dataclass(frozen=True)
class Shipment:
    """A scenario with all that it refers to. `places` are the driver's; a worker that sees the file
    `mark` in its artifacts folder shares its disk. `dataset`, `weights` and `held_out` are names in
    `depot`."""

    scenario: Scenario
    places: Places
    mark: str
    depot: Depot
    dataset: str | None = None
    weights: str | None = None
    held_out: str | None = None


def pack(scenario: Scenario, places: Places, depot: Depot) -> Shipment:
    """Put the dataset, the weights and the list of what was held out, where the scenario has such,
    into the depot.

    Raises OSError where the depot cannot be written.
    """
    mark = f".driver-{uuid.uuid4().hex[:12]}"
    places.artifacts.mkdir(parents=True, exist_ok=True)
    write_whole(places.artifacts / mark, b"")
    dataset = weights = held_out = None
    if scenario.dataset != NO_DATASET and scenario.dataset not in INSIDE:
        raw = read(scenario.dataset, places.data)
        dataset = f"dataset-{raw.fingerprint}.npz"
        if depot.read(dataset + ".there") is None:
            depot.write(dataset, _npz(raw))
            depot.write(dataset + ".there", b"1")  # a look at it should not fetch all of it
    if scenario.weights is not None:
        content = Path(scenario.weights).read_bytes()
        weights = f"weights-{inspect(Path(scenario.weights)).fingerprint}.safetensors"
        depot.write(weights, content)
    if scenario.held_out is not None:
        # By index: what travels has no paths.
        listed = read_held_out(Path(scenario.held_out), read(scenario.dataset, places.data))
        held_out = f"held-out-{listed.fingerprint}.txt"
        depot.write(held_out, listed.text().encode())
    return Shipment(scenario, places, mark, depot, dataset, weights, held_out)


def unpack(shipment: Shipment) -> tuple[Scenario, Places, Depot | None]:
    """The scenario and the places as they are on this machine, and where artifacts come from if
    that is not the driver's disk. Raises DataError if the depot no longer has what was packed."""
    places = shipment.places
    if (places.artifacts / shipment.mark).exists():
        return shipment.scenario, places, None
    folder = cache_folder() / "depots" / places.artifacts.name
    here = Places(artifacts=folder, depot=places.depot)
    scenario = shipment.scenario
    if shipment.dataset is not None:
        path = _fetch(shipment.dataset, folder, shipment.depot)
        scenario = replace(scenario, dataset=str(path))
    if shipment.weights is not None:
        path = _fetch(shipment.weights, folder, shipment.depot)
        scenario = replace(scenario, weights=str(path))
    if shipment.held_out is not None:
        path = _fetch(shipment.held_out, folder, shipment.depot)
        scenario = replace(scenario, held_out=str(path))
    return scenario, here, shipment.depot


def unmark(shipment: Shipment) -> None:
    """The driver ends: nothing more is sent."""
    (shipment.places.artifacts / shipment.mark).unlink(missing_ok=True)


def _fetch(name: str, folder: Path, depot: Depot) -> Path:
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{name}.lock"):  # once for each machine, however many workers ask
        if not path.exists():
            content = depot.read(name)
            if content is None:
                raise DataError(f"the driver's depot has no {name}; start the study again")
            write_whole(path, content)
    return path


def _npz(raw: Raw) -> bytes:
    content = io.BytesIO()
    arrays = {name: getattr(raw, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(content, **arrays, classes=np.array(raw.classes))
    return content.getvalue()
