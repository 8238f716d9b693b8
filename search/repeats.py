"""Running given configurations again and again: what comparisons, sweeps and class maps rest on.

Repeats are studies, in folders of their own inside the results folder, so that they are resumable
and never taken for a search's trials.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from search import results
from search.analysis.best import by_gap
from search.progress import Progress
from search.spec import StudySpec, validate
from search.study import Study
from search.tables import hyperparameters
from trainables import methods
from trainables.errors import InvalidRequest
from trainables.scenario import MOST_SEED, Places

CONFIRMED = "confirmed"
SWEEPS = "sweeps"
CLASSES = "classes"
"""Folders of a comparison's repeats, of sensitivity sweeps and of maps over forget classes."""


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
        "space": dict(values),
    }
    return spec.model_copy(update=changes)


def run(spec: StudySpec, root: Path, places: Places, console: Console) -> Study:
    """A study that has run to its end. Raises what `Study.run` raises."""
    study = Study(spec, root=root, places=places)
    study.run(Progress(console))
    return study


def stored(root: Path, name: str) -> StudySpec:
    """The specification of a study that is there. Raises InvalidRequest, in one line, if there is
    none or it cannot be read."""
    path = results.existing(root, name) / "study.json"
    described = results.load_json(path) or {}
    if "spec" not in described:
        raise InvalidRequest(f"{path} is missing or not readable: the study cannot be repeated")
    return validate(described["spec"], str(path))


def best_values(spec: StudySpec, root: Path) -> tuple[dict[str, Any] | None, str]:
    """All hyperparameters of a study's best trial, and a line that says which; None where no trial
    completed. `spec` must be resolved."""
    assert spec.name is not None
    best: list[results.Row] = []
    if results.study_folder(root, spec.name).is_dir():
        best = by_gap(results.scan(root, spec.name), 1).to_pylist()
    if not best:
        return None, f"study {spec.name} has no complete trial"
    return hyperparameters(best[0]), f"the best of study {spec.name} (trial {best[0]['number']})"


def configuration(
    spec: StudySpec, root: Path, given: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """All hyperparameters of a study's best trial, or the method's defaults where it has none;
    those that are `given` instead. With a line that says which. `spec` must be resolved.

    Raises InvalidRequest for a configuration that the method refuses.
    """
    found, origin = best_values(spec, root)
    values = methods.hyperparameters(spec.method) if found is None else found
    if found is None:
        origin = f"the defaults of {spec.method} ({origin})"
    if given:
        origin += ", with " + " ".join(f"{name}={value}" for name, value in given.items())
    # As a trial would have them, so that an impossible one is refused before anything runs.
    methods.make(spec.method, {**values, **given})
    return {**values, **given}, origin


def mark(*parts: Any) -> str:
    """Eight hexadecimal digits that follow from plain values: they set names apart."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def same_but(spec: Mapping[str, Any], other: Mapping[str, Any], *scenario_keys: str) -> bool:
    """Whether two stored specifications are of one method and scenario, but for these keys of the
    scenario."""

    def about(stored: Mapping[str, Any]) -> str:
        scenario = {k: v for k, v in stored["scenario"].items() if k not in scenario_keys}
        return json.dumps([stored["method"], scenario, stored.get("inversion")], sort_keys=True)

    return about(spec) == about(other)
