"""Where a cluster's machines get what they lack of this one's disk, and who has got what."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.engine.machines import on_a_cluster
from trainables.artifacts.files import write_whole
from trainables.scenario import Places, Scenario

if TYPE_CHECKING:
    from trainables.artifacts.shipping import Shipment

NEWS_SECONDS = 1.0
"""Time between two questions for news."""

NEWS = "news"
"""Calls that do not wait until a file has been read."""


class DepotActor:
    """Serves files of the driver's artifacts folder to machines that do not see it, and takes what
    they build; remembers what they say that they receive. Names are plain file names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._news: list[str] = []
        self._coming: dict[tuple[str, str], bool] = {}

    def read(self, name: str) -> bytes | None:
        path = self._folder / Path(name).name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, content: bytes) -> None:
        write_whole(self._folder / Path(name).name, content)

    @ray.method(concurrency_group=NEWS)
    def receiving(self, host: str, name: str) -> None:
        self._coming[host, name] = False

    @ray.method(concurrency_group=NEWS)
    def received(self, host: str, name: str, size: int, seconds: float) -> None:
        """`size` is in bytes."""
        self._coming.pop((host, name), None)
        self._news.append(f"{host} received {name} ({size / 1e6:.1f} MB in {seconds:.1f} s)")

    @ray.method(concurrency_group=NEWS)
    def news(self) -> list[str]:
        """Lines on what was received since this was last asked, and on what takes longer."""
        lines, self._news = self._news, []
        for (host, name), told in self._coming.items():
            if not told:
                lines.append(f"{host} is receiving {name}")
        self._coming = dict.fromkeys(self._coming, True)
        return lines


class Depot:
    """Gives the cluster's other machines what they lack of this one's disk, while it is open.

    A context manager. `shipment` is for their workers; None where there are no others and none can
    join.
    """

    def __init__(self, scenario: Scenario, places: Places) -> None:
        self._scenario, self._places = scenario, places
        self._asked: Any = None
        self._next = 0.0
        self.shipment: Shipment | None = None

    def __enter__(self) -> Depot:
        from trainables.artifacts.remote import Remote
        from trainables.artifacts.shipping import pack
        from trainables.trainable import RayDepot, Reporting

        if not on_a_cluster():
            return self
        name = f"forgetune-depot-{uuid.uuid4().hex[:12]}"
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._places.artifacts.mkdir(parents=True, exist_ok=True)
        remote: Any = ray.remote  # whose types know nothing of concurrency groups
        kind = remote(num_cpus=0, max_restarts=-1, concurrency_groups={NEWS: 1})(DepotActor)
        served = kind.options(name=name, scheduling_strategy=here)
        self._actor = served.remote(self._places.artifacts)
        uri = self._places.depot
        depot = RayDepot(name) if uri is None else Remote(uri)
        packed = pack(self._scenario, self._places, depot)
        self.shipment = replace(packed, depot=Reporting(depot, name))
        return self

    def __exit__(self, *_: object) -> None:
        from trainables.artifacts.shipping import unmark

        if self.shipment is not None:
            unmark(self.shipment)

    def news(self) -> list[str]:
        """Lines on what machines received since this was last asked; never waits for them."""
        if self.shipment is None:
            return []
        if self._asked is None:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + NEWS_SECONDS
                self._asked = self._actor.news.remote()
            return []
        if not ray.wait([self._asked], timeout=0)[0]:
            return []
        answer, self._asked = self._asked, None
        try:
            lines: list[str] = ray.get(answer)
        except ray.exceptions.RayError:
            return []  # news are no reason to stop
        return lines
