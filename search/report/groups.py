"""Studies side by side: gathered, and grouped by scenario and by what steered them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.report.gather import gather
from search.report.gathered import Gathered
from search.store.mirror import place_of
from search.store.results import existing
from search.store.scenarios import apart, identity
from trainables.errors import InvalidRequest
from trainables.outcome import State

SYNTHETIC = "synthetic images"
VALIDATION = "validation"
PROBED = "validation with the probe"
STEERING = {VALIDATION: "", PROBED: "-probed", SYNTHETIC: "-synthetic"}
"""What a study's best is chosen by, and what marks plots of such studies; gaps of one kind say
nothing of gaps of another."""


def steering(study: Gathered) -> str:
    """What the study's best is chosen by."""
    return SYNTHETIC if study.synthetic else PROBED if study.probed else VALIDATION


def gather_all(root: Path, names: Sequence[str]) -> tuple[list[Gathered], list[str]]:
    """The studies of these names in which trials settled, and a sentence for each that has none.

    Raises InvalidRequest for one that is not there and if nothing has settled in any.
    """
    for name in names:
        existing(root, name)
    found, problems = [], []
    for name in dict.fromkeys(names):
        try:
            found.append(gather(root, name))
        except InvalidRequest as error:
            problems.append(str(error))
    if not found:
        raise InvalidRequest(
            "; ".join(problems) or f"there are no studies in {place_of(root)} to compare"
        )
    return found, problems


@dataclass(frozen=True)
class Group:
    """Studies of one scenario."""

    title: str
    studies: Sequence[Gathered]

    @property
    def references(self) -> dict[str, Mapping[str, float]]:
        """Metrics of the original and the retrained model and of the control, which all share."""
        return next((study.references for study in self.studies if study.references), {})

    def steered(self, on: str) -> list[Gathered]:
        """Those that were steered by images of this kind and have a complete trial."""
        return [
            study
            for study in self.studies
            if steering(study) == on and study.status.states.get(State.COMPLETE)
        ]


def by_scenario(studies: Sequence[Gathered]) -> list[Group]:
    """The studies in groups of one scenario each, in the order of the first of each."""
    groups: dict[str, list[Gathered]] = {}
    for study in studies:
        groups.setdefault(json.dumps(_identity(study), sort_keys=True), []).append(study)
    members = list(groups.values())
    firsts = [_identity(own[0]) for own in members]
    return [Group(_title(own[0], firsts), own) for own in members]


def _identity(study: Gathered) -> dict[str, Any]:
    described = study.described if study.spec else {}
    return identity(study.name, described, study.rows[0], steering=False)


def _title(first: Gathered, scenarios: Sequence[Mapping[str, Any]]) -> str:
    """Dataset, model, forget classes, and what else sets this scenario apart from the others."""
    if not first.spec:
        return f"{first.name} (scenario not known)"
    names = [first.classes[label] for label in first.forget if label < len(first.classes)]
    row, mine = first.rows[0], _identity(first)
    alike = [other for other in scenarios if _shown(other) == _shown(mine)]
    told = f"{row['dataset']}, {row['model']}"
    forgotten = f"forgetting class {', '.join(names) or row['forget']}"
    return ", ".join([told, forgotten, *apart(mine, alike)])


def _shown(scenario: Mapping[str, Any]) -> list[Any]:
    return [scenario.get(key) for key in ("dataset", "model", "forget")]
