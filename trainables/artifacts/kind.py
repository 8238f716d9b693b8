"""What an artifact kind is: a declaration. Each kind's stands in a file of its own beside this one;
`kinds` lists them.

An artifact's name is for people and schedulers ("base", "gan 3"); its key in the store follows from
its description alone: the keys of the artifacts that it follows from, and the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import nn

from trainables.access import Access
from trainables.artifacts.materials import Materials, Origin
from trainables.artifacts.store import Artifact, Built
from trainables.scenario import Scenario

Description = dict[str, Any]
T = TypeVar("T")


class Parts(Protocol):
    """What builders and loaders are handed: what the scenario gives, and its other artifacts."""

    @property
    def materials(self) -> Materials: ...

    def obtain(self, name: str, build: Callable[[], Built] | None = None) -> Artifact:
        """The artifact of this name as it is stored; what is missing is built, in its own way or by
        `build`."""
        ...

    def load(self, name: str) -> Any:
        """What the kind's `load` makes of the artifact of this name: once, and shared by all."""
        ...

    def keep(self, make: Callable[[Parts], T]) -> T:
        """What `make` makes of these parts: once, and shared by all."""
        ...

    def trained(self, name: str, alone: Callable[[], nn.Module]) -> nn.Module:
        """The network of this name, trained `alone`, or by its kind's `together` with those of the
        group that is being prepared."""
        ...

    def stored(self, name: str) -> tuple[str, str]:
        """Where artifacts lie, and what the files of this one are called."""
        ...


@dataclass(frozen=True)
class Asked:
    """What trials ask for: what their method `needs` and how many inverted `generators` it takes,
    and the groups of `expensive` metrics that are to be measured."""

    scenario: Scenario
    num_classes: int
    needs: frozenset[Access] = frozenset()
    expensive: tuple[str, ...] = ()
    generators: int = 0


def _whatever(_: Scenario) -> bool:
    return True


@dataclass(frozen=True)
class Kind:
    """One kind of artifact. The first six are all that most have to say.

    `name` is what its files are called; `recipe` is raised by one when the code that builds it
    changes what it builds. `settings` are, for an artifact's name, the settings and fingerprints
    that determine its content (values of JSON); `follows` names the artifacts that it is built
    from, whose keys determine it too. `wanted` names the artifacts of this kind that trials need.
    `build` gives tensors and facts to be stored; `load` makes of what is stored what is worked
    with, on the device, and raises GeneratorError or DataError for what is of no use.

    `called` is what the artifact is called where that is not `name`; if it ends in a blank there
    are several, and a number or a word comes after it. `serves` says in which scenarios these are
    artifacts of this kind. `after` names artifacts that building takes and that determine nothing
    more. `beside` names those that are built along with it, and without which it is of no use.
    `together` trains the networks of several at once.
    """

    name: str
    recipe: int
    settings: Callable[[str, Scenario, Origin], Description]
    wanted: Callable[[Asked], list[str]]
    build: Callable[[Parts, str], Built]
    load: Callable[[Parts, str, Artifact], Any]
    follows: tuple[str, ...] = ()
    called: str = ""
    serves: Callable[[Scenario], bool] = _whatever
    after: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    together: Callable[[Parts, Sequence[str]], Sequence[nn.Module]] | None = None

    def has(self, name: str) -> bool:
        """Whether the artifact of this name is one of this kind."""
        called = self.called or self.name
        return name.startswith(called) if called.endswith(" ") else name == called
