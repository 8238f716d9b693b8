"""The artifacts of one scenario on one device, by name: found, built, loaded, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from torch import nn

from trainables.artifacts.kind import Asked, Description, Parts
from trainables.artifacts.kinds import describe, kind_of, staged, wanted
from trainables.artifacts.materials import Materials
from trainables.artifacts.remote import Remote
from trainables.artifacts.store import Artifact, Built, Depot, Store, key_of
from trainables.errors import DataError, GeneratorError
from trainables.scenario import Places

T = TypeVar("T")


class Shelf:
    """The artifacts of the scenario of `materials`, in the store of `places`.

    Those that are missing come from `depot`, or the one of `places`, before they are built. Raises
    InvalidRequest for an unusable artifacts folder.
    """

    def __init__(self, materials: Materials, places: Places, depot: Depot | None = None) -> None:
        self.materials = materials
        if depot is None and places.depot is not None:
            depot = Remote(places.depot)
        self._store = Store(places.artifacts, depot)
        self._place = places.depot or str(places.artifacts)
        self._seconds: dict[str, float] = {}
        self._kept: dict[Any, Any] = {}
        self._group: list[str] = []
        self._trained: dict[str, nn.Module] = {}

    def describe(self, name: str) -> tuple[str, Description]:
        """What the files of the artifact of this name begin with, and what determines it."""
        return describe(name, self.materials.scenario, self.materials.origin)

    def stored(self, name: str) -> tuple[str, str]:
        """Where artifacts lie, and what the files of this one are called."""
        kind, description = self.describe(name)
        return self._place, f"{kind}-{key_of(description)}"

    def obtain(self, name: str, build: Callable[[], Built] | None = None) -> Artifact:
        """The artifact as it is stored; what is missing is built, in its own way or by `build`."""

        def by_its_kind() -> Built:
            return kind_of(name, self.materials.scenario).build(self, name)

        artifact = self._store.obtain(*self.describe(name), build or by_its_kind)
        self._seconds[name] = artifact.seconds
        return artifact

    def load(self, name: str) -> Any:
        """What the artifact's kind makes of it, once. Raises GeneratorError or DataError for one
        that is there and of no use."""
        if name not in self._kept:
            self._open(name, self.obtain(name))
        return self._kept[name]

    def _open(self, name: str, artifact: Artifact) -> None:
        if name not in self._kept:
            kind = kind_of(name, self.materials.scenario)
            self._kept[name] = kind.load(self, name, artifact)

    def keep(self, make: Callable[[Parts], T]) -> T:
        """What `make` makes of the artifacts, once."""
        if make not in self._kept:
            self._kept[make] = make(self)
        return cast(T, self._kept[make])

    def stages(self, asked: Asked) -> list[list[str]]:
        """Names of the artifacts that trials need, in stages; parts of one stage are independent.

        Raises InvalidRequest for the training log of a base model that comes from a file.
        """
        names = wanted(asked)
        for name in names:
            self.describe(name)
        return staged(names, self.materials.scenario)

    def is_prepared(self, name: str) -> bool:
        """Whether the artifact of this name is in the store, whole; of one that is of use only
        beside others, whether these are there too and belong to it."""
        beside = kind_of(name, self.materials.scenario).beside
        if not all(map(self.is_prepared, beside)) or not self._store.has(*self.describe(name)):
            return False
        try:
            if beside:
                self.load(name)
        except DataError:  # is looked at once more when it is prepared, and refused
            return False
        return True

    def prepare(self, name: str) -> dict[str, Any]:
        """Build one artifact unless it is there; says what came of it.

        "origin" is cached, built or rebuilt, "seconds" what building cost, "note" what was set
        aside as damaged. Raises Diverged or GeneratorError where training fails, DataError for one
        that is of no use.
        """
        artifact = self.obtain(name)
        self._open(name, artifact)
        return {"origin": artifact.origin, "seconds": artifact.seconds, "note": artifact.note}

    def groups(self, names: Sequence[str]) -> list[list[str]]:
        """These artifacts in groups, each for one call of `prepare_together`."""
        groups: dict[str, list[str]] = {}
        for name in names:
            kind = kind_of(name, self.materials.scenario)
            groups.setdefault(name if kind.together is None else kind.name, []).append(name)
        return list(groups.values())

    def prepare_together(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`prepare` of each of a group. Its networks are trained as one computation, whose seconds
        count with the first of them; one that has to be trained again is trained alone. Raises as
        `prepare` does, the error of a collapsed GAN once the others are in the store."""
        self._group = [name for name in names if not self.is_prepared(name)]
        found, collapsed = {}, None
        try:
            for name in names:
                try:
                    found[name] = self.prepare(name)
                except GeneratorError as error:
                    collapsed = collapsed or error
        finally:
            self._group, self._trained = [], {}
        if collapsed is not None:
            raise collapsed
        return found

    def trained(self, name: str, alone: Callable[[], nn.Module]) -> nn.Module:
        """The network of this name, trained `alone`, or by its kind's `together` with those of the
        group that is being prepared."""
        if name not in self._trained:
            together = kind_of(name, self.materials.scenario).together
            if together is None or len(self._group) < 2 or name not in self._group:
                return alone()
            group, self._group = self._group, []
            self._trained = dict(zip(group, together(self, group), strict=True))
        return self._trained.pop(name)

    def seconds(self, names: Sequence[str]) -> float:
        """What these artifacts cost when they were built, in all."""
        for name in names:
            if name not in self._seconds:  # not yet asked for here
                self.obtain(name)
        return sum(self._seconds[name] for name in names)
