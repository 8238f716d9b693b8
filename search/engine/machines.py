"""The machines of the cluster: how many trials fit on them, and whether their versions are ours."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ray
from ray._private import worker as this_process
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search import shadows
from search.engine.connection import standard
from search.ledger.versions import installed
from trainables.errors import InvalidRequest

VERSIONS_SECONDS = 120.0
"""How long a machine may take to say which versions it has."""

Resources = Mapping[str, float]
"""What a machine has, by Ray's names: CPU, GPU, ..."""


class MachineRefused(InvalidRequest):
    """Trials must not run on the machine at this address."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"the machine {address} {why}; mend it or take it out of the cluster, and the same "
            "command goes on"
        )
        self.address = address


def machines() -> list[dict[str, Any]]:
    """The nodes that can run something, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


def resources() -> list[Resources]:
    """What each machine has."""
    return [node["Resources"] for node in machines()]


def on_a_cluster() -> bool:
    """Whether there are other machines, or some may join: all but a Ray that this process started
    for itself."""
    # Only Ray's own internals tell who started it.
    started_here = this_process._global_node is not None and this_process._global_node.is_head()
    return not started_here or sum(node["Alive"] for node in ray.nodes()) > 1


def fit(there: Iterable[Resources], cpus: int, gpus: float) -> int:
    """How many trials of so many CPUs and GPUs each run at once on machines that have these
    resources. No trial spans two machines, no fraction of a GPU two GPUs."""
    return sum(_fit_on(machine, cpus, gpus) for machine in there)


def _fit_on(machine: Resources, cpus: int, gpus: float) -> int:
    by_cpus = int(machine.get("CPU", 0.0) // cpus)
    if not gpus:
        return by_cpus
    there = int(machine.get("GPU", 0.0))
    each = int(1 / gpus + 1e-6)  # 1 / (1 / 99) is less than 99
    return min(by_cpus, there * each if gpus < 1 else int(there // gpus))


class Fleet:
    """The machines that trials may run on: those that have the versions of this one."""

    def __init__(self) -> None:
        self._mine = versions()
        self._there: dict[str, Resources] = {}
        self._addresses: set[str] = set()
        self._asked: dict[str, tuple[Any, float]] = {}

    def check(self) -> None:
        """Ask all machines for their versions, and wait for the answers.

        Raises MachineRefused for one that has others: numbers would differ, or trials crash in
        the middle; and for one that does not answer.
        """
        self.look()
        while self._asked:
            ray.wait([answer for answer, _ in self._asked.values()], timeout=1.0)
            self.look()

    def look(self) -> list[str]:
        """Ask the machines that joined, and hear those that have answered, without waiting for any;
        the addresses of those that belong to the fleet from now on.

        Raises MachineRefused as `check` does.
        """
        nodes = {node["NodeID"]: node for node in machines()}
        self._there = {name: has for name, has in self._there.items() if name in nodes}
        self._asked = {name: asked for name, asked in self._asked.items() if name in nodes}
        self._addresses = {nodes[name]["NodeManagerAddress"] for name in self._there}
        joined = []
        for name, node in nodes.items():
            address = node["NodeManagerAddress"]
            if name not in self._there and self._answered(name, address):
                self._there[name] = node["Resources"]
                self._addresses.add(address)
                joined.append(address)
        return joined

    def wait_for(self, address: str) -> list[str]:
        """`look`, until the machine at this address belongs to the fleet or is gone."""
        joined: list[str] = []
        while address not in self._addresses:
            joined += self.look()
            if address not in {node["NodeManagerAddress"] for node in machines()}:
                break
            if self._asked:
                ray.wait([answer for answer, _ in self._asked.values()], timeout=1.0)
        return joined

    def fit(self, cpus: int, gpus: float) -> int:
        """How many trials run at once on the machines that were there at the last look."""
        return fit(self._there.values(), cpus, gpus)

    def _answered(self, name: str, address: str) -> bool:
        """Whether this machine, once asked, has said that its versions are ours."""
        if name not in self._asked:
            self._asked[name] = (_ask(name), time.monotonic())
        answer, since = self._asked[name]
        if not ray.wait([answer], timeout=0)[0]:
            if time.monotonic() - since > VERSIONS_SECONDS:
                raise self._unfit(address, f"no answer in {VERSIONS_SECONDS:g} s")
            return False
        try:
            theirs = ray.get(answer)
        except (ray.exceptions.RayTaskError, ImportError) as error:
            raise self._unfit(address, error) from None
        except ray.exceptions.RayError as error:
            if time.monotonic() - since > VERSIONS_SECONDS:
                raise self._unfit(address, error) from None
            # What is asked of a machine that goes away fails before Ray knows that it is gone.
            self._asked[name] = (_ask(name), since)
            return False
        del self._asked[name]
        if isinstance(theirs, str):
            raise MachineRefused(address, f"cannot run trials: {theirs}")
        other = [f"{package} {theirs[package]} (here {mine})"
                 for package, mine in self._mine.items() if theirs[package] != mine]  # fmt: skip
        if other:
            raise MachineRefused(address, f"has other versions: {', '.join(other)}")
        return True

    def _unfit(self, address: str, why: object) -> MachineRefused:
        line = " ".join(str(getattr(why, "cause", None) or why).split())[-200:]
        version = self._mine["forgetune"]
        return MachineRefused(
            address, f"cannot run trials: {line} (is forgetune {version} installed there?)"
        )


def _ask(name: str) -> Any:
    """The answer to come of the machine with this id: which versions it has, or a line on whose
    module it would import in place of one that we need."""
    there = NodeAffinitySchedulingStrategy(name, soft=False)
    return ray.remote(num_cpus=0)(_question()).options(scheduling_strategy=there).remote()


def _question() -> Callable[[], dict[str, str] | str]:
    # What asks for foreign modules must travel as it is: by its name it would be looked up in them.
    ray.cloudpickle.register_pickle_by_value(shadows)
    foreign, used = shadows.foreign, frozenset(standard())

    def answer() -> dict[str, str] | str:
        wrong = foreign(used)
        if wrong is not None:
            return wrong
        from search.engine.machines import versions

        return versions()

    return answer


def versions() -> dict[str, str]:
    """What must be the same on all machines."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: installed(name) for name in ("forgetune", "torch", "ray")}}
