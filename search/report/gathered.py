"""A study and what was made from it, as values: all that its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from search.analysis import sensitivity
from search.analysis.best import by_gap, probed
from search.analysis.by_class import Target
from search.designs.repeats import CLASSES, CONFIRMED, SWEEPS, Origin
from search.store.results import Row
from search.store.status import Status

MODELS = {"base": "original", "retrained": "retrained", "control": "control"}
"""Models that a study is compared with: as study.json calls them, and as people do."""


@dataclass(frozen=True)
class Sweep:
    """A designed sweep over the hyperparameters `names`, the others `fixed`, and what it was made
    from."""

    study: str
    names: Sequence[str]
    points: Sequence[sensitivity.Point]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    origins: Sequence[Origin] = ()


@dataclass(frozen=True)
class ClassMap:
    """Classes forgotten in turn, in order, by the name of the run of each, and what their
    configuration was made from (of each class one, where each was searched for its own)."""

    runs: Mapping[str, Target]
    origins: Sequence[Origin]

    @property
    def targets(self) -> list[Target]:
        return sorted(self.runs.values(), key=lambda target: target.label)

    @property
    def made_from(self) -> str:
        """What the configuration was made from, for people."""
        own = {origin.study for origin in self.origins if origin.searched is not None}
        told = [str(origin) for origin in self.origins if origin.searched is None]
        told += [f"the best of a search for each class, for study {name}" for name in sorted(own)]
        return "; ".join(dict.fromkeys(told))


@dataclass(frozen=True)
class Confirmed:
    """The repeats of a trial's configuration, over one or more base models."""

    origin: Origin
    configuration: Mapping[str, Any]
    rows: Sequence[Row]
    base_seeds: Sequence[int]


@dataclass(frozen=True)
class Gathered:
    """A study and what was made from it. `spec` and `described` (study.json) are empty where that
    cannot be read; `problems` says what could not, a sentence each, and `beside` what could not in
    the folders of sweeps, maps and repeats. `unclaimed` are the runs there, by folder, that may
    have been made from the study, but do not say so."""

    name: str
    folder: Path
    table: pa.Table
    rows: Sequence[Row]
    status: Status
    described: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    previews: Mapping[str, str] = field(default_factory=dict)
    sweeps: Sequence[Sweep] = ()
    maps: Sequence[ClassMap] = ()
    confirmed: Sequence[Confirmed] = ()
    problems: Sequence[str] = ()
    beside: Sequence[str] = ()
    unclaimed: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def runs(self) -> set[tuple[str, str]]:
        """What was made from the study: folder beside and name of each run."""
        found = {(SWEEPS, sweep.study) for sweep in self.sweeps}
        found |= {(CLASSES, name) for each in self.maps for name in each.runs}
        return found | {(CONFIRMED, r["study"]) for item in self.confirmed for r in item.rows}

    @property
    def best(self) -> Row | None:
        """The best trial by what steered the study; None where none completed."""
        found: list[Row] = by_gap(self.table).slice(0, 1).to_pylist()
        return found[0] if found else None

    @property
    def synthetic(self) -> bool:
        """Whether the study is steered by images of inverted generators."""
        return any(row.get("objective") == "synthetic" for row in self.rows)

    @property
    def probed(self) -> bool:
        """Whether the gap that chooses of the study is that with the probe."""
        return any(map(probed, self.rows))

    @property
    def references(self) -> dict[str, Mapping[str, float]]:
        """Metrics of the original and the retrained model and of the control, by their names for
        people."""
        return _by_model(self.described.get("references"), dict)

    @property
    def references_by_class(self) -> dict[str, Mapping[str, Sequence[float | None]]]:
        """Accuracies (percent) class by class of those without the control, whose are the original
        model's but for one."""
        found = _by_model(self.described.get("references_by_class"), dict)
        return {name: lists for name, lists in found.items() if name != MODELS["control"]}

    @property
    def training_curves(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """An entry for each epoch of their training."""
        return _by_model(self.described.get("training_curves"), list)

    @property
    def classes(self) -> list[str]:
        """The names of the classes; numbers where they have none."""
        found = self.described.get("classes")
        if isinstance(found, list) and found:
            return [str(name) for name in found]
        lists = (row.get("class_accuracy") or [] for row in self.rows)
        return [str(label) for label in range(max(map(len, lists), default=0))]

    @property
    def forget(self) -> list[int]:
        """The numbers of the classes that are to be forgotten."""
        found = self.spec.get("scenario", {}).get("forget") or []
        return [label for label in found if isinstance(label, int)]


def _by_model(found: Any, kind: type) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        return {}
    return {
        name: found[key]
        for key, name in MODELS.items()
        if isinstance(found.get(key), kind) and found[key]
    }
