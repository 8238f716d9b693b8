"""Forgetting each class in turn (figures 8-10 of the thesis)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from search import results
from search.analysis.by_class import Target
from search.progress import Progress
from search.repeats import CLASSES, best_values, mark, repeated, run
from search.spec import StudySpec, class_names
from search.study import Study
from trainables.classes import labelled
from trainables.errors import ForgetuneError, InvalidRequest
from trainables.scenario import Places


def forget_each(
    spec: StudySpec,
    root: Path,
    places: Places,
    console: Console,
    *,
    labels: Sequence[int],
    values: Mapping[str, Any] | None,
    seeds: int,
) -> list[Target]:
    """Repeat a configuration with each of `labels` as the forget class; `spec` must be resolved.

    Without `values` each class is searched first (`spec.trials` trials), and its best configuration
    is taken. What is there is not run again; a target that fails keeps its place, with the reason.
    Raises KeyboardInterrupt for a run that was interrupted.
    """
    found = []
    names = class_names(spec, places)
    for done, label in enumerate(labels, start=1):
        told = labelled([label], names)
        Progress(console).say(f"forgetting {done} of {len(labels)}: {told}")
        scenario = spec.scenario.model_copy(update={"forget": [label]})
        wanted = spec.model_copy(update={"scenario": scenario, "name": None})
        try:
            resolved = Study(wanted, places=places).spec
            chosen = _searched(resolved, root, places, console) if values is None else values
            about = mark(chosen, resolved.scenario.model_dump(mode="json"), spec.seed)
            name = f"{(resolved.name or '')[:90]}-{about}"
            study = run(repeated(resolved, name, seeds, chosen), root / CLASSES, places, console)
            described = results.load_json(study.folder / "study.json") or {}
            found.append(
                Target(
                    label,
                    study.results().slice(0, seeds).to_pylist(),
                    described.get("references_by_class", {}).get("retrained", {}),
                    chosen,
                )
            )
        except ForgetuneError as error:
            Progress(console).say(f"{told}: {error}")
            found.append(Target(label, reason=str(error)))
    return found


def _searched(spec: StudySpec, root: Path, places: Places, console: Console) -> Mapping[str, Any]:
    run(spec, root, places, console)
    values, reason = best_values(spec, root)
    if values is None:
        raise InvalidRequest(reason)
    return values
