"""What the runs that belong to a study come to together: sweeps, maps over classes, repeats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from search.analysis import sensitivity
from search.analysis.by_class import Target
from search.designs.repeats import Origin
from search.designs.sweeps import swept
from search.report.beside import Run
from search.report.gathered import ClassMap, Confirmed, Sweep
from search.store import results


def sweeps(runs: Sequence[Run], problems: list[str]) -> list[Sweep]:
    """Those over one hyperparameter first; what cannot be read is added to `problems`."""
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


def maps(runs: Sequence[Run]) -> list[ClassMap]:
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


def confirmed(runs: Sequence[Run]) -> list[Confirmed]:
    """The repeats by trial, those of all base models together."""
    grouped: dict[int, list[tuple[Origin, Run]]] = {}
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


def _union(maps: Sequence[ClassMap]) -> ClassMap:
    runs = {name: target for each in maps for name, target in each.runs.items()}
    origins: list[Origin] = []
    for each in maps:
        origins += [origin for origin in each.origins if origin not in origins]
    return ClassMap(runs, origins)


def _target(run: Run) -> Target | None:
    forget = run.spec["scenario"].get("forget")
    classes = run.described.get("classes") or []
    if not isinstance(forget, list) or len(forget) != 1 or not isinstance(forget[0], int):
        return None
    if classes and not 0 <= forget[0] < len(classes):
        return None
    references = run.described.get("references_by_class") or {}
    rows = list(results.rows_of(run.table))
    return Target(forget[0], rows, references.get("retrained") or {}, run.configuration)
