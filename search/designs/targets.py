"""Forgetting each class in turn (figures 8-10 of the thesis)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search.analysis.by_class import Target
from search.definition.names import cut, mark
from search.definition.resolved import class_names
from search.definition.spec import StudySpec
from search.designs.repeats import CLASSES, Chosen, Origin, best_of, no_best, repeated, run
from search.show.progress import Progress
from search.store import results
from search.study import Study
from trainables.data.classes import labelled
from trainables.errors import ForgetuneError, InvalidRequest
from trainables.scenario import Places


def forget_each(
    spec: StudySpec,
    root: Path,
    places: Places,
    console: Console,
    *,
    labels: Sequence[int],
    chosen: Chosen | None,
    seeds: int,
) -> list[Target]:
    """Repeat a configuration with each of `labels` as the forget class; `spec` must be resolved.

    Without one that is `chosen` each class is searched first (`spec.trials` trials), and its best
    configuration is taken. What is there is not run again; a target that fails keeps its place,
    with the reason. Raises KeyboardInterrupt for a run that was interrupted.
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
            values, origin, _ = chosen or _searched(spec, resolved, root, places, console)
            about = mark(values, resolved.scenario.model_dump(mode="json"), spec.seed)
            wanted = repeated(resolved, f"{cut(resolved.name or '', 90)}-{about}", seeds, values)
            study = run(wanted, root / CLASSES, places, console, origin)
            described = results.described(study.folder)
            found.append(
                Target(
                    label,
                    study.results().slice(0, seeds).to_pylist(),
                    described.get("references_by_class", {}).get("retrained", {}),
                    values,
                )
            )
        except ForgetuneError as error:
            Progress(console).say(f"{told}: {error}")
            found.append(Target(label, reason=str(error)))
    return found


def _searched(
    asking: StudySpec, spec: StudySpec, root: Path, places: Places, console: Console
) -> Chosen:
    """The best of a search of its own."""
    run(spec, root, places, console)
    best = best_of(spec, root)
    if best is None:
        raise InvalidRequest(no_best(spec.name or "", root))
    assert asking.name is not None
    return best._replace(origin=Origin(asking.name, best.origin.trial, searched=spec.name))
