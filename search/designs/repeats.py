"""Running given configurations again and again: what comparisons, sweeps and class maps rest on.

Repeats are studies, in folders of their own inside the results folder, so that they are resumable
and never taken for a search's trials.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from search.analysis.best import by_gap, why_none
from search.definition.differing import differences
from search.definition.names import cut
from search.definition.reading import validate
from search.definition.spec import StudySpec
from search.ledger.description import MADE_FROM
from search.show.progress import Progress
from search.show.tables import hyperparameters
from search.store import results
from search.study import Study
from trainables import methods
from trainables.errors import InvalidRequest
from trainables.scenario import MOST_SEED, Places

CONFIRMED = "confirmed"
SWEEPS = "sweeps"
CLASSES = "classes"
"""Folders of a comparison's repeats, of sensitivity sweeps and of maps over forget classes."""


LONGEST = 80
"""Characters of a study's name that the names of its trials' repeats begin with."""


@dataclass(frozen=True)
class Origin:
    """What a configuration was made from, for `study`: a trial of it, or the method's defaults
    (`trial` is None); the values `given` were set instead of its own.

    Where each class is searched for its own best, the trial is of the study `searched`.
    """

    study: str
    trial: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    searched: str | None = None

    def __str__(self) -> str:
        if self.trial is None:
            told = f"the method's defaults, for study {self.study}"
        else:
            told = f"trial {self.trial} of study {self.searched or self.study}"
        values = " ".join(f"{name}={value}" for name, value in self.given.items())
        return f"{told}, with {values} instead" if values else told

    def stored(self) -> dict[str, Any]:
        """Plain values, for study.json."""
        values = {"study": self.study, "trial": self.trial, "set": dict(self.given)}
        return values if self.searched is None else {**values, "searched": self.searched}


def origins(described: Mapping[str, Any]) -> list[Origin]:
    """What a stored study (its study.json) was made from; nothing where an earlier version made it
    or it is a search."""
    stored = described.get(MADE_FROM)
    return [
        Origin(item["study"], item.get("trial"), item.get("set") or {}, item.get("searched"))
        for item in (stored if isinstance(stored, list) else [])
        if isinstance(item, Mapping)
        and isinstance(item.get("study"), str)
        and isinstance(item.get("trial"), int | None)
        and isinstance(item.get("set", {}), Mapping)
        and isinstance(item.get("searched"), str | None)
    ]


class Chosen(NamedTuple):
    """All hyperparameters of a configuration, what it was made from, and a line that says so."""

    values: dict[str, Any]
    origin: Origin
    told: str


def repeated(spec: StudySpec, name: str, count: int, values: Mapping[str, Any]) -> StudySpec:
    """A study of `count` trials of this configuration, with other seeds than those of `spec`, under
    which it was chosen."""
    changes = {
        "name": name,
        "trials": count,
        "sampler": "random",
        "pruner": "none",
        "time_budget": None,
        "seed": (spec.seed + 1) % (MOST_SEED + 1),
        "pool_samples": False,  # samples are a part of what may differ from time to time
        # What a trial of an earlier version does not name had its default, and must not vary here.
        "space": {**methods.hyperparameters(spec.method), **values},
    }
    return spec.model_copy(update=changes)


def run(
    spec: StudySpec, root: Path, places: Places, console: Console, origin: Origin | None = None
) -> Study:
    """A study that has run to its end; `origin` is what it was made from, unless it is a search.
    Raises what `Study.run` raises."""
    study = Study(spec, root=root, places=places)
    study.run(Progress(console), made_from=None if origin is None else origin.stored())
    return study


def stored(root: Path, name: str) -> StudySpec:
    """The specification of a study that is there. Raises InvalidRequest, in one line, if there is
    none or it cannot be read."""
    folder = results.existing(root, name)
    path, found = folder / "study.json", results.described(folder)
    if "spec" not in found:
        raise InvalidRequest(f"{path} is missing or not readable: the study cannot be repeated")
    return validate(found["spec"], str(path))


def best_of(spec: StudySpec, root: Path) -> Chosen | None:
    """The configuration of a study's best trial; None where no trial completed. `spec` must be
    resolved.

    Raises InvalidRequest if the study of this name is of another method or scenario.
    """
    assert spec.name is not None
    best: list[results.Row] = []
    folder = results.study_folder(root, spec.name)
    if folder.is_dir():
        _check_same_scenario(spec, results.described(folder))
        best = by_gap(results.scan(root, spec.name), 1).to_pylist()
    if not best:
        return None
    number = best[0]["number"]
    told = f"the best of study {spec.name} (trial {number})"
    return Chosen(hyperparameters(best[0]), Origin(spec.name, number), told)


def no_best(name: str, root: Path) -> str:
    """Why a study has no best trial, in one line."""
    there = results.study_folder(root, name).is_dir()
    why = f": {why_none(results.scan(root, name))}" if there else ""
    return f"study {name} has no complete trial{why}"


def _check_same_scenario(spec: StudySpec, described: Mapping[str, Any]) -> None:
    stored = described.get("spec")
    if not isinstance(stored, Mapping):
        return
    changed = [
        line
        for line in differences(stored, spec.model_dump(mode="json"))
        if line.startswith(("method:", "scenario.", "inversion."))
    ]
    if changed:
        raise InvalidRequest(
            f"study {spec.name} is of another scenario ({'; '.join(changed)}); give "
            f"--study {spec.name} to begin with its best, in its scenario"
        )


def configuration(spec: StudySpec, root: Path, given: Mapping[str, Any]) -> Chosen:
    """The configuration of a study's best trial, or the method's defaults where it has none; with
    the values that are `given` instead. `spec` must be resolved.

    Raises InvalidRequest for a configuration that the method refuses, and if the study of this name
    is of another method or scenario.
    """
    assert spec.name is not None
    values, origin, told = best_of(spec, root) or Chosen(
        methods.hyperparameters(spec.method),
        Origin(spec.name),
        f"the defaults of {spec.method} ({no_best(spec.name, root)})",
    )
    if given:
        told += ", with " + " ".join(f"{name}={value}" for name, value in given.items())
    # As a trial would have them, so that an impossible one is refused before anything runs.
    methods.make(spec.method, {**values, **given})
    return Chosen({**values, **given}, replace(origin, given=dict(given)), told)


def confirmed_name(study: str, trial: int, base_seed: int) -> str:
    """The name of the repeats of a study's trial on the base model of this seed."""
    ending = f"-{trial}-base-{base_seed}"
    return cut(study, min(LONGEST, 100 - len(ending))) + ending


def named_origin(name: str) -> tuple[Origin, int] | None:
    """What repeats of this name were certainly made from, and the seed of their base model: those
    of an earlier version say it nowhere else. None where their study's name may have been cut."""
    found = re.fullmatch(r"(.+)-(\d+)-base-(\d+)", name)
    if found is None or len(found[1]) >= LONGEST:
        return None
    return Origin(found[1], int(found[2])), int(found[3])


def same_but(spec: Mapping[str, Any], other: Mapping[str, Any], *scenario_keys: str) -> bool:
    """Whether two stored specifications are of one method and scenario, but for these keys of the
    scenario."""

    def about(stored: Mapping[str, Any]) -> str:
        scenario = {
            k: v for k, v in stored["scenario"].items() if k not in scenario_keys and v is not None
        }
        return json.dumps([stored["method"], scenario, stored.get("inversion")], sort_keys=True)

    return about(spec) == about(other)
