"""What a results folder holds of a study, as values: all that its page shows.

Sweeps, maps over classes and repeats lie in folders of their own; those that were made from the
study belong to it. What is missing or damaged is told, and stops nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from search.analysis import sensitivity
from search.analysis.best import by_gap, probed
from search.analysis.by_class import Target
from search.designs.repeats import (
    CLASSES,
    CONFIRMED,
    SWEEPS,
    Origin,
    named_origin,
    origins,
    same_but,
)
from search.designs.sweeps import swept
from search.report import trials
from search.store import results
from search.store.results import Row
from search.store.status import Status, status
from trainables.errors import InvalidRequest

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


def gather(root: Path, name: str) -> Gathered:
    """All there is of a study. Raises InvalidRequest, in one line, if there is none of this name or
    nothing has settled yet."""
    folder = results.existing(root, name)
    table, damaged = results.read_study(folder)
    if table.num_rows == 0:
        raise InvalidRequest(
            f"study {name} has no trials that settled yet"
            + ("; " + "; ".join(map(str, damaged)) if damaged else "")
            + f" (`forgetune status {name}` says how far it is)"
        )
    described = results.described(folder)
    spec = _spec(described)
    problems = [f"Left out, not readable: {item}." for item in damaged]
    if spec is None:
        problems.append(
            f"{folder / 'study.json'} is missing or not readable: the specification, the original "
            "and the retrained model, and related runs are left out."
        )
    rows = list(results.rows_of(table))
    beside: list[str] = []
    related: dict[str, list[_Run]] = {kind: [] for kind in _MAY_DIFFER}
    unclaimed: dict[str, list[str]] = {kind: [] for kind in _MAY_DIFFER}
    for kind in _MAY_DIFFER if spec is not None else ():
        for run in _related(root, kind, spec or {}, beside):
            mine = _made_from(name, rows, kind, run)
            if mine:
                related[kind].append(replace(run, origins=mine))
            elif mine is None:
                unclaimed[kind].append(run.name)
    return Gathered(
        name=name,
        folder=folder,
        table=table,
        rows=rows,
        status=status(root, name),
        described=described,
        spec=spec or {},
        previews=_previews(folder, problems),
        sweeps=_sweeps(related[SWEEPS], beside),
        maps=_maps(related[CLASSES]),
        confirmed=_confirmed(related[CONFIRMED]),
        problems=problems,
        beside=beside,
        unclaimed={kind: names for kind, names in unclaimed.items() if names},
    )


def left_out(studies: Iterable[Gathered]) -> list[str]:
    """A sentence for each folder beside that holds runs that may have been made from these studies,
    but do not say so, and were not made from another of them."""
    studies = list(studies)
    claimed = {run for study in studies for run in study.runs}
    found: dict[str, dict[str, None]] = {}
    for study in studies:
        for kind, names in study.unclaimed.items():
            new = {name: None for name in names if (kind, name) not in claimed}
            found.setdefault(kind, {}).update(new)
    return [
        f"Left out, as it is not known which study they were made from: {len(names)} in {kind} ("
        + ", ".join(list(names)[:3])
        + (", ..." if len(names) > 3 else "")
        + "). The command that made them, given again, records it and runs nothing twice."
        for kind, names in found.items()
        if names
    ]


@dataclass(frozen=True)
class _Run:
    """A study of one of the folders beside."""

    name: str
    spec: Mapping[str, Any]
    described: Mapping[str, Any]
    table: pa.Table
    origins: Sequence[Origin] = ()

    @property
    def configuration(self) -> dict[str, Any]:
        """The hyperparameters of its first trial."""
        found: dict[str, Any] = json.loads(self.table["params_json"][0].as_py())
        return found


_MAY_DIFFER: dict[str, tuple[str, ...]] = {SWEEPS: (), CLASSES: ("forget",), CONFIRMED: ("seed",)}
"""The folders beside, and what of the scenario may be another there than in the study."""


def _spec(described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The stored specification, if it is one."""
    spec = described.get("spec")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("method"), str):
        return None
    sections = (spec.get("scenario"), spec.get("space"))
    return spec if all(isinstance(section, Mapping) for section in sections) else None


def _related(
    results_root: Path, kind: str, spec: Mapping[str, Any], problems: list[str]
) -> Iterator[_Run]:
    """The runs of a folder beside that are of the study's method and scenario."""
    root = results_root / kind
    for name in results.study_names(root):
        described = results.described(results.study_folder(root, name))
        other = _spec(described)
        if other is None:
            problems.append(
                f"{results.study_folder(root, name) / 'study.json'} is missing or not readable: "
                "what it belongs to is not known, and it is left out."
            )
            continue
        if not same_but(spec, other, *_MAY_DIFFER[kind]):
            continue
        table, damaged = results.examine(root, name)
        problems += [f"Left out, not readable: {item}." for item in damaged]
        if table.num_rows:
            yield _Run(name, other, described, table)


def _made_from(study: str, rows: Sequence[Row], kind: str, run: _Run) -> list[Origin] | None:
    """What of the study a run was made from; None where that is not known."""
    stored = origins(run.described)
    if not stored and kind == CONFIRMED:
        # An earlier version left it to the name.
        named = named_origin(run.name)
        if named is not None and named[1] == run.spec["scenario"].get("seed"):
            stored = [named[0]]
    mine = [origin for origin in stored if origin.study == study]
    certain = [origin for origin in mine if _fits(origin, rows, run)]
    return None if not stored or (mine and not certain) else certain


def _fits(origin: Origin, rows: Sequence[Row], run: _Run) -> bool:
    """Whether a trial is still what the run was made from: a study may have been made anew."""
    if origin.trial is None or origin.searched is not None:
        return True
    row = next((row for row in rows if row["number"] == origin.trial), None)
    if row is None:
        return False
    own = {*origin.given, *swept(run.spec)}
    fixed = {key: value for key, value in trials.given(row).items() if key not in own}
    return fixed.items() <= run.configuration.items()


def _sweeps(runs: Sequence[_Run], problems: list[str]) -> list[Sweep]:
    found = []
    for run in runs:
        names = swept(run.spec)
        try:
            fixed = {k: v for k, v in run.spec["space"].items() if k not in names}
            points = sensitivity.points(run.table, names)
            found.append(Sweep(run.name, names, points, fixed, run.origins))
        except (KeyError, ValueError, TypeError) as error:
            problems.append(f"The sweep {run.name} cannot be read ({error!r}) and is left out.")
    return sorted((sweep for sweep in found if sweep.names), key=lambda sweep: len(sweep.names))


def _maps(runs: Sequence[_Run]) -> list[ClassMap]:
    """A map for each configuration, or for the best ones of each class, the largest first; of a
    class that was run twice with one, the latest run."""
    found: dict[str, dict[int, tuple[Any, ClassMap]]] = {}
    for run in runs:
        target = _target(run)
        if target is None:
            continue
        when = max(row["finished"] for row in target.repeats)
        for origin in run.origins:
            stored = {**origin.stored(), "trial": None} if origin.searched else origin.stored()
            key = json.dumps({**stored, "searched": bool(origin.searched)}, sort_keys=True)
            of_kind = found.setdefault(key, {})
            if target.label not in of_kind or of_kind[target.label][0] < when:
                of_kind[target.label] = (when, ClassMap({run.name: target}, [origin]))
    maps = [_union([part for _, part in of_kind.values()]) for of_kind in found.values()]
    return sorted(joined_maps(maps), key=lambda found: -len(found.runs))


def _target(run: _Run) -> Target | None:
    forget = run.spec["scenario"].get("forget")
    classes = run.described.get("classes") or []
    if not isinstance(forget, list) or len(forget) != 1 or not isinstance(forget[0], int):
        return None
    if classes and not 0 <= forget[0] < len(classes):
        return None
    references = run.described.get("references_by_class") or {}
    rows = list(results.rows_of(run.table))
    return Target(forget[0], rows, references.get("retrained") or {}, run.configuration)


def _union(maps: Sequence[ClassMap]) -> ClassMap:
    runs = {name: target for each in maps for name, target in each.runs.items()}
    origins: list[Origin] = []
    for each in maps:
        origins += [origin for origin in each.origins if origin not in origins]
    return ClassMap(runs, origins)


def joined_maps(maps: Sequence[ClassMap]) -> list[ClassMap]:
    """Maps that share a run are one, with what all of them were made from; unless they have other
    runs of a class."""
    found: list[ClassMap] = []
    for each in maps:
        for index, other in enumerate(found):
            both = _union([other, each])
            labels = [target.label for target in both.targets]
            if other.runs.keys() & each.runs.keys() and len(labels) == len(set(labels)):
                found[index] = both
                break
        else:
            found.append(each)
    return found


def _confirmed(runs: Sequence[_Run]) -> list[Confirmed]:
    """The repeats by trial, those of all base models together."""
    grouped: dict[int, list[tuple[Origin, _Run]]] = {}
    for run in runs:
        for origin in run.origins:
            if origin.trial is not None and origin.searched is None:
                grouped.setdefault(origin.trial, []).append((origin, run))
    return [
        Confirmed(
            members[0][0],
            members[0][1].configuration,
            [row for _, run in members for row in results.rows_of(run.table)],
            sorted({run.spec["scenario"].get("seed", 0) for _, run in members}),
        )
        for _, members in sorted(grouped.items())
    ]


def _previews(folder: Path, problems: list[str]) -> dict[str, str]:
    """The pictures of what generators make, as data URIs by name."""
    found = {}
    for path in sorted((folder / "previews").glob("*.png")):
        try:
            content = path.read_bytes()
        except OSError as error:
            problems.append(f"Left out, not readable: {path} ({error.strerror}).")
            continue
        found[path.stem] = "data:image/png;base64," + base64.b64encode(content).decode()
    return found
