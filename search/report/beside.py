"""Which runs of the folders beside a study belong to it: sweeps, maps over classes and repeats that
were made from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

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
from search.report.gathered import Gathered
from search.store import results
from search.store.results import Row

_MAY_DIFFER: dict[str, tuple[str, ...]] = {SWEEPS: (), CLASSES: ("forget",), CONFIRMED: ("seed",)}
"""The folders beside, and what of the scenario may be another there than in the study."""


@dataclass(frozen=True)
class Run:
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


def belonging(
    root: Path, name: str, rows: Sequence[Row], spec: Mapping[str, Any], problems: list[str]
) -> tuple[dict[str, list[Run]], dict[str, list[str]]]:
    """By folder beside, the runs that were made from the study `name`, which has these `rows`, and
    the names of those that may have been, but do not say so."""
    belong: dict[str, list[Run]] = {kind: [] for kind in _MAY_DIFFER}
    unclaimed: dict[str, list[str]] = {kind: [] for kind in _MAY_DIFFER}
    for kind in _MAY_DIFFER if spec else ():
        for run in _related(root, kind, spec, problems):
            mine = _made_from(name, rows, kind, run)
            if mine:
                belong[kind].append(replace(run, origins=mine))
            elif mine is None:
                unclaimed[kind].append(run.name)
    return belong, unclaimed


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


def specified(described: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The stored specification, if it is one."""
    spec = described.get("spec")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("method"), str):
        return None
    sections = (spec.get("scenario"), spec.get("space"))
    return spec if all(isinstance(section, Mapping) for section in sections) else None


def _related(
    results_root: Path, kind: str, spec: Mapping[str, Any], problems: list[str]
) -> Iterator[Run]:
    """The runs of a folder beside that are of the study's method and scenario."""
    root = results_root / kind
    for name in results.study_names(root):
        described = results.described(results.study_folder(root, name))
        other = specified(described)
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
            yield Run(name, other, described, table)


def _made_from(study: str, rows: Sequence[Row], kind: str, run: Run) -> list[Origin] | None:
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


def _fits(origin: Origin, rows: Sequence[Row], run: Run) -> bool:
    """Whether a trial is still what the run was made from: a study may have been made anew."""
    if origin.trial is None or origin.searched is not None:
        return True
    row = next((row for row in rows if row["number"] == origin.trial), None)
    if row is None:
        return False
    own = {*origin.given, *swept(run.spec)}
    fixed = {key: value for key, value in trials.given(row).items() if key not in own}
    return fixed.items() <= run.configuration.items()
