"""The kinds of artifacts, and what follows from their declarations: keys, what trials need, and the
order in which it can be built. No training."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from trainables.artifacts.classifiers import BASE, RETRAINED
from trainables.artifacts.gans import CGAN, DCGAN, WGAN_GP
from trainables.artifacts.inversions import HOLD_OUTS, MEMBERS
from trainables.artifacts.kind import Asked, Description, Kind
from trainables.artifacts.materials import Origin
from trainables.artifacts.reference import REFERENCE, RELEARNING
from trainables.artifacts.store import key_of
from trainables.artifacts.training_log import LOG
from trainables.scenario import Scenario

KINDS: tuple[Kind, ...] = (
    *(BASE, LOG, RETRAINED),
    *(REFERENCE, DCGAN, WGAN_GP, CGAN, MEMBERS, HOLD_OUTS),
    RELEARNING,
)


def kind_of(name: str, scenario: Scenario) -> Kind:
    """The kind of the artifact of this name. Raises KeyError where there is none."""
    for kind in KINDS:
        if kind.has(name) and kind.serves(scenario):
            return kind
    raise KeyError(f"no kind of artifact is called {name!r}")


def describe(name: str, scenario: Scenario, origin: Origin) -> tuple[str, Description]:
    """What the files of the artifact of this name begin with, and all that determines its content.

    Raises InvalidRequest for the training log of a base model that was trained elsewhere.
    """
    kind = kind_of(name, scenario)
    keys = {other: key_of(describe(other, scenario, origin)[1]) for other in kind.follows}
    return kind.name, {**keys, **kind.settings(name, scenario, origin), "recipe": kind.recipe}


def wanted(asked: Asked) -> list[str]:
    """Names of the artifacts that trials need, those that these are built from among them."""
    names: list[str] = []
    for kind in KINDS:
        if kind.serves(asked.scenario):
            names += kind.wanted(asked)
    for name in names:  # which grows meanwhile
        kind = kind_of(name, asked.scenario)
        others = (*kind.follows, *kind.after, *kind.beside)
        names += [other for other in others if other not in names]
    return names


def staged(names: Iterable[str], scenario: Scenario) -> list[list[str]]:
    """These artifacts in stages: each comes after those that it is built from, as far as they are
    among these, and artifacts of one stage do not depend on each other."""
    names = list(names)
    earlier: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        kind = kind_of(name, scenario)
        earlier[name].update({*kind.follows, *kind.after} & earlier.keys())
        for other in earlier.keys() & set(kind.beside):  # is made along with this one
            earlier[other].add(name)

    @cache
    def stage(name: str) -> int:
        return 1 + max(map(stage, earlier[name]), default=-1)

    stages: list[list[str]] = []
    for name in sorted(names, key=stage):
        if stage(name) == len(stages):
            stages.append([])
        stages[-1].append(name)
    return stages
