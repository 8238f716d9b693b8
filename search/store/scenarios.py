"""What can be ranked against each other: trials of one scenario, judged by one kind of figures.

The retrained model of one scenario says nothing of another, and a gap on synthetic images nothing
of one on real ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from search.analysis.best import probed
from search.store import results
from search.store.results import Damage
from trainables.data.classes import labelled

APART_FROM_IT = (
    *("precision", "anamnesis_alpha", "anamnesis_batch_size", "anamnesis_epochs"),
    *("gan", "gan_steps", "gan_width"),
)
"""Keys of a scenario that change neither the models that a trial is judged by nor the judging."""

STEERED_BY = "steered by"
PROBED = "gap over"
INVERSION = "inversion."
ROW = "row"
"""Key of an identity for what the rows themselves say: dataset, model, forget classes and seed."""


@dataclass(frozen=True)
class Comparable:
    """Trials that can be ranked against each other, what they are about, and the metrics of the
    control that they share, where it was measured."""

    title: str
    table: pa.Table
    control: Mapping[str, float] = field(default_factory=dict)


def about(row: Mapping[str, Any]) -> str:
    """Dataset, model and what is forgotten in a trial, for people."""
    return f"{short(row['dataset'])}, {row['model']}, {forgetting(row)}"


def short(dataset: str) -> str:
    """A dataset for people: a user's own by the last part of its path."""
    return Path(dataset).name or dataset


def forgetting(row: Mapping[str, Any]) -> str:
    """What is forgotten in a trial: numbers of classes, with their names where the row has them."""
    labels = [int(label) for label in row["forget"].split(",")]
    known = dict(zip(labels, row.get("forget_names") or [], strict=False))
    return f"forgetting {labelled(labels, [known.get(n, str(n)) for n in range(max(labels) + 1)])}"


def reference(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """What of a stored scenario says which models its trials are judged by, and on what."""
    return {
        key: value
        for key, value in scenario.items()
        # What is left open says as much as a key that an earlier version did not know.
        if key not in APART_FROM_IT and value is not None
    }


def identity(
    name: str, described: Mapping[str, Any], row: Mapping[str, Any], *, steering: bool = True
) -> dict[str, Any]:
    """What must be equal for trials of two studies to be ranked against each other, from study.json
    and a trial; without `steering`, for what is measured of all alike, whatever steered them.

    A study that is not described is like no other.
    """
    spec = described.get("spec")
    scenario = spec.get("scenario") if isinstance(spec, Mapping) else None
    found: dict[str, Any] = {ROW: [row[key] for key in ("dataset", "model", "forget", "base_seed")]}
    if not isinstance(spec, Mapping) or not isinstance(scenario, Mapping):
        return {**found, "study": name}
    found |= reference(scenario)
    # Of files the path says nothing: their content may have changed.
    if "/" in str(found.get("dataset")) or found.get("weights") is not None:
        found["content"] = described.get("dataset_fingerprint")
    # A smaller gap over other terms is not a better one.
    if steering and probed(row):
        found[PROBED] = ", ".join(row["gap_terms"].split(","))
    if steering and spec.get("objective") == "synthetic":
        inversion = spec.get("inversion")
        made = inversion if isinstance(inversion, Mapping) else {}
        found |= {STEERED_BY: "synthetic images"}
        found |= {INVERSION + key: value for key, value in made.items()}
    return found


def control_of(described: Mapping[str, Any]) -> Mapping[str, float]:
    """The metrics of the control in a study.json; none where an earlier version wrote it."""
    references = described.get("references")
    found = references.get("control") if isinstance(references, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def titles(
    found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> list[str]:
    """For each identity, given with a trial of it, what it is about and what sets it apart from
    others of the same dataset, model and forget classes."""
    by_words: dict[str, list[Mapping[str, Any]]] = {}
    for item, row in found:
        by_words.setdefault(about(row), []).append(item)
    return [", ".join([about(row), *apart(item, by_words[about(row)])]) for item, row in found]


def apart(item: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of an identity is otherwise in one of the others."""

    def differs(key: str, other: Mapping[str, Any]) -> bool:
        # A study that real images steered has no inversion to differ in.
        return other.get(key) != item[key] and (key in other or not key.startswith(INVERSION))

    return [
        f"{key} {value}"
        for key, value in item.items()
        if key != ROW and value is not None and any(differs(key, other) for other in others)
    ]


def comparable(root: Path, study: str | None = None) -> tuple[list[Comparable], list[Damage]]:
    """The trials of a results folder (or of one study) in groups that can be ranked, in the order
    of the first study of each, and the files that cannot be read.

    Raises InvalidRequest if there is no such study.
    """
    groups: dict[str, list[pa.Table]] = {}
    firsts: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    controls: dict[str, Mapping[str, float]] = {}
    damaged: list[Damage] = []
    for name in [study] if study is not None else results.study_names(root):
        table, bad = results.examine(root, name)
        damaged += bad
        if table.num_rows:
            described = results.described(results.study_folder(root, name))
            row = table.slice(0, 1).to_pylist()[0]
            item = identity(name, described, row)
            key = json.dumps(item, sort_keys=True)
            groups.setdefault(key, []).append(table)
            firsts.setdefault(key, (item, row))
            if control := control_of(described):
                controls.setdefault(key, control)
    told = titles(list(firsts.values()))
    tables = [results.joined(tables) for tables in groups.values()]
    return [
        Comparable(title, table, controls.get(key, {}))
        for title, table, key in zip(told, tables, groups, strict=True)
    ], damaged
