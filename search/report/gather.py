"""What a results folder holds of a study, as values: all that its page shows.

Sweeps, maps over classes and repeats of the best lie in folders of their own; those of the same
method and scenario belong to the study. What is missing or damaged is told, and stops nothing.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from search import results
from search.analysis import sensitivity
from search.analysis.by_class import Target
from search.repeats import CLASSES, CONFIRMED, SWEEPS, same_but
from search.results import Row
from search.status import Status, status
from search.sweeps import swept
from trainables.errors import InvalidRequest

MODELS = {"base": "original", "retrained": "retrained"}
"""Models that a study is compared with: as study.json calls them, and as people do."""


@dataclass(frozen=True)
class Sweep:
    """A designed sweep over the hyperparameters `names`, the others `fixed`."""

    study: str
    names: Sequence[str]
    points: Sequence[sensitivity.Point]
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Confirmed:
    """The repeats of a configuration, over one or more base models."""

    configuration: Mapping[str, Any]
    rows: Sequence[Row]
    base_seeds: Sequence[int]


@dataclass(frozen=True)
class Gathered:
    """A study and what belongs to it. `spec` and `described` (study.json) are empty where that
    cannot be read; `problems` says what could not, a sentence each."""

    name: str
    folder: Path
    table: pa.Table
    rows: Sequence[Row]
    status: Status
    described: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    previews: Mapping[str, str] = field(default_factory=dict)
    sweeps: Sequence[Sweep] = ()
    targets: Sequence[Target] = ()
    confirmed: Sequence[Confirmed] = ()
    problems: Sequence[str] = ()

    @property
    def synthetic(self) -> bool:
        """Whether the study is steered by images of inverted generators."""
        return any(row.get("objective") == "synthetic" for row in self.rows)

    @property
    def references(self) -> dict[str, Mapping[str, float]]:
        """Metrics of the original and the retrained model, by their names for people."""
        return _by_model(self.described.get("references"), dict)

    @property
    def references_by_class(self) -> dict[str, Mapping[str, Sequence[float | None]]]:
        """Their accuracies (percent) class by class."""
        return _by_model(self.described.get("references_by_class"), dict)

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
    described = results.load_json(folder / "study.json") or {}
    spec = _spec(described)
    problems = [f"Left out, not readable: {item}." for item in damaged]
    if spec is None:
        problems.append(
            f"{folder / 'study.json'} is missing or not readable: the specification, the original "
            "and the retrained model, and related runs are left out."
        )
    related = (
        {kind: [] for kind in (SWEEPS, CLASSES, CONFIRMED)}
        if spec is None
        else {
            SWEEPS: list(_related(root / SWEEPS, spec, problems)),
            CLASSES: list(_related(root / CLASSES, spec, problems, "forget")),
            CONFIRMED: list(_related(root / CONFIRMED, spec, problems, "seed")),
        }
    )
    return Gathered(
        name=name,
        folder=folder,
        table=table,
        rows=list(results.rows_of(table)),
        status=status(root, name),
        described=described,
        spec=spec or {},
        previews=_previews(folder, problems),
        sweeps=_sweeps(related[SWEEPS], problems),
        targets=_targets(related[CLASSES]),
        confirmed=_confirmed(related[CONFIRMED]),
        problems=problems,
    )


@dataclass(frozen=True)
class _Run:
    """A study of one of the folders beside."""

    name: str
    spec: Mapping[str, Any]
    described: Mapping[str, Any]
    table: pa.Table


def _spec(described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The stored specification, if it is one."""
    spec = described.get("spec")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("method"), str):
        return None
    sections = (spec.get("scenario"), spec.get("space"))
    return spec if all(isinstance(section, Mapping) for section in sections) else None


def _related(
    root: Path, spec: Mapping[str, Any], problems: list[str], *scenario_keys: str
) -> Iterator[_Run]:
    for name in results.study_names(root):
        described = results.load_json(results.study_folder(root, name) / "study.json") or {}
        other = _spec(described)
        if other is None:
            problems.append(
                f"{results.study_folder(root, name) / 'study.json'} is missing or not readable: "
                "what it belongs to is not known, and it is left out."
            )
            continue
        if not same_but(spec, other, *scenario_keys):
            continue
        table, damaged = results.examine(root, name)
        problems += [f"Left out, not readable: {item}." for item in damaged]
        if table.num_rows:
            yield _Run(name, other, described, table)


def _sweeps(runs: Sequence[_Run], problems: list[str]) -> list[Sweep]:
    found = []
    for run in runs:
        names = swept(run.spec)
        try:
            fixed = {k: v for k, v in run.spec["space"].items() if k not in names}
            found.append(Sweep(run.name, names, sensitivity.points(run.table, names), fixed))
        except (KeyError, ValueError, TypeError) as error:
            problems.append(f"The sweep {run.name} cannot be read ({error!r}) and is left out.")
    return sorted((sweep for sweep in found if sweep.names), key=lambda sweep: len(sweep.names))


def _targets(runs: Sequence[_Run]) -> list[Target]:
    """A target for each forget class, in order: of one configuration, the one that most classes
    were forgotten with, where it was more than one; else the latest run of each class."""
    shared = Counter(run.table["params_json"][0].as_py() for run in runs)
    most = shared.most_common(1)
    if most and most[0][1] > 1:
        runs = [run for run in runs if run.table["params_json"][0].as_py() == most[0][0]]
    latest: dict[int, tuple[Any, Target]] = {}
    for run in runs:
        forget = run.spec["scenario"].get("forget")
        classes = run.described.get("classes") or []
        if not isinstance(forget, list) or len(forget) != 1 or not isinstance(forget[0], int):
            continue
        rows = list(results.rows_of(run.table))
        if classes and not 0 <= forget[0] < len(classes):
            continue
        references = run.described.get("references_by_class") or {}
        when = max(row["finished"] for row in rows)
        target = Target(
            forget[0], rows, references.get("retrained") or {}, json.loads(rows[0]["params_json"])
        )
        if forget[0] not in latest or latest[forget[0]][0] < when:
            latest[forget[0]] = (when, target)
    return [latest[label][1] for label in sorted(latest)]


def _confirmed(runs: Sequence[_Run]) -> list[Confirmed]:
    """The repeats by configuration, those of all base models together."""
    grouped: dict[str, list[_Run]] = {}
    for run in runs:
        key = run.table["params_json"][0].as_py()
        grouped.setdefault(json.dumps(json.loads(key), sort_keys=True), []).append(run)
    return [
        Confirmed(
            json.loads(key),
            [row for run in members for row in results.rows_of(run.table)],
            sorted({run.spec["scenario"].get("seed", 0) for run in members}),
        )
        for key, members in grouped.items()
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
