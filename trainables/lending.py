"""What methods are lent of what their trials share: data, cut once, and samples, cut from pools."""

from __future__ import annotations

from collections.abc import Callable

from trainables.access import Access, Granted
from trainables.artifacts import gans, inversions
from trainables.artifacts.shelf import Shelf
from trainables.data.dataset import Samples
from trainables.generators import kegnet
from trainables.generators.sampling import Ensemble, Pool, Sampler


class Lending:
    """Lends what is on `shelf`, and the data that it is made from, to one trial after another."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._given = shelf.materials
        self._members: list[kegnet.Generator] = []
        self._pools: dict[tuple[Access, int], Pool] = {}
        self._data: dict[Access, tuple[Samples, tuple[int, int]]] = {}

    def grant(
        self, needs: frozenset[Access], generators: int = 0, pool: int | None = None
    ) -> Granted:
        """Access to exactly what `needs` names, and to so many inverted generators.

        With a `pool`, a seed, synthetic samples are cut from pools that are drawn once and stay
        here until another seed comes.
        """
        given, shelf = self._given, self._shelf
        return Granted(
            needs,
            {
                Access.FORGET: lambda: self._kept(Access.FORGET, given.dataset.train.of),
                Access.RETAIN: lambda: self._kept(Access.RETAIN, given.dataset.train.without),
                Access.GANS: lambda: self._pooled(Access.GANS, shelf.keep(gans.sampler), pool),
                Access.LOG: lambda: shelf.load("log"),
                Access.INVERTED: lambda: self._ensemble(generators, pool),
            },
            given.scenario.forget,
            given.num_classes,
            given.image_shape,
            given.classes,
        )

    def _kept(self, kind: Access, cut: Callable[[tuple[int, ...]], Samples]) -> Samples:
        """What `cut` makes of the forget classes: once for all trials, and anew after a method that
        has changed it in place."""
        held = self._data.get(kind)
        if held is None or held[1] != _versions(held[0]):
            samples = cut(self._given.scenario.forget)
            self._data[kind] = held = samples, _versions(samples)
        return held[0]

    def _ensemble(self, count: int, pool: int | None) -> Sampler:
        missing = range(len(self._members), count)
        self._members += [inversions.member(self._shelf, index) for index in missing]
        # A pool takes in those that later trials need.
        members = self._members[:count] if pool is None else self._members
        return self._pooled(Access.INVERTED, Ensemble(members, self._shelf.load("base")), pool)

    def _pooled(self, kind: Access, sampler: Sampler, seed: int | None) -> Sampler:
        if seed is None:
            return sampler
        key = (kind, seed)
        if key not in self._pools:
            self._pools.clear()
            self._pools[key] = Pool(sampler, seed, self._given.device)
        return self._pools[key]

    def settle_draws(self) -> float:
        """Seconds of drawing that trials were spared by pools since this was last called; negative
        where a trial drew for others too."""
        return sum(pool.settle() for pool in self._pools.values())


def _versions(samples: Samples) -> tuple[int, int]:
    """Numbers that torch raises by one whenever a tensor is changed in place."""
    return samples.images._version, samples.labels._version
