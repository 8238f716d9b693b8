"""Comparing methods fairly: search each, then repeat its best configurations with other seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search.analysis.best import by_gap, why_none
from search.analysis.compare import Entry, Row, choose
from search.definition.spec import StudySpec
from search.designs.repeats import CONFIRMED, Origin, confirmed_name, repeated, run
from search.show.progress import Progress
from search.show.tables import hyperparameters
from search.store import results
from search.store.scenarios import reference, short
from search.study import Study
from trainables import methods
from trainables.errors import ForgetuneError, InvalidRequest
from trainables.scenario import MOST_SEED, Places

REFERENCES = {"base": "original", "retrained": "retrained", "control": "mask"}
"""Models that are compared with: as study.json calls them, and as a comparison does."""

NAME_IT = "give this one another --name"
HERE = "compare in another folder (--results)"
"""What a study's refusal advises, and what can be done where names follow from the methods."""


def compare(
    specs: Sequence[StudySpec],
    root: Path,
    places: Places,
    console: Console,
    *,
    top: int = 3,
    seeds: int = 5,
    base_seeds: int = 1,
) -> list[Entry]:
    """An entry for each specification, after those of the original and the retrained model and of
    the control, unless that is among them.

    Studies that are there are continued, and repeats that settled are not run again. The anamnesis
    index, which costs more than a trial and steers nothing, is measured of the repeats alone. Each
    of the `top` configurations is run with `seeds` unlearning seeds on each of `base_seeds` base
    models; the one with the smallest mean of what steered the search is the method's. A method
    whose search fails keeps its entry, with the reason. Raises InvalidRequest for specifications
    that cannot be run or are of several scenarios and where every method was refused, and
    KeyboardInterrupt for a run that was interrupted.
    """
    entries: list[Entry] = []
    references: list[Entry] = []
    refused: list[str] = []
    # What cannot be asked for at all is refused before anything runs.
    studies = [Study(without_relearning(spec), root=root, places=places) for spec in specs]
    _check_one_scenario(studies)
    for study, asked in zip(studies, specs, strict=True):
        spec = study.spec
        try:
            Progress(console).say(
                f"{spec.method}: study {study.name}, forgetting {study.forgotten}"
            )
            study.run(Progress(console))
            table = study.results()
            best = by_gap(table, top).to_pylist()
            if not best:
                entries.append(Entry(spec.method, reason=why_none(table)))
                continue
            repeats: list[list[Study]] = []
            for rank, row in enumerate(best, start=1):
                Progress(console).say(
                    f"{spec.method}: repeating configuration {rank} of {len(best)}"
                )
                repeats.append(_repeats(study, asked, row, seeds, base_seeds, console))
            found = [_entry(*pair, seeds) for pair in zip(best, repeats, strict=True)]
            entries.append(choose(found))
            references = references or _references(repeats[0][0])
        except ForgetuneError as error:
            reason = str(error).replace(NAME_IT, HERE)
            refused.append(f"{spec.method}: {reason}")
            Progress(console).say(refused[-1])
            entries.append(Entry(spec.method, reason=reason))
    if len(refused) == len(studies):
        raise InvalidRequest("; ".join(refused))
    measured = {entry.name for entry in entries if entry.repeats}
    references = [entry for entry in references if not entry.control or entry.name not in measured]
    return [*references, *entries]


def _check_one_scenario(studies: Sequence[Study]) -> None:
    """The retrained model of one scenario says nothing of another."""
    first, *others = studies
    for other in others:
        mine, theirs = (
            *(reference(s.spec.scenario.model_dump(mode="json")) for s in (first, other)),
        )
        changed = [name for name in mine if mine[name] != theirs[name]]
        if changed:
            told = ", ".join(f"{name} {mine[name]} and {theirs[name]}" for name in changed)
            raise InvalidRequest(
                f"studies {first.name} and {other.name} are of different scenarios ({told}) and "
                "cannot be compared"
            )


def without_relearning(spec: StudySpec) -> StudySpec:
    """The study, its trials not measured by the anamnesis index."""
    return spec.model_copy(update={"metrics": [m for m in spec.metrics if m != "anamnesis"]})


def _repeats(
    study: Study, asked: StudySpec, row: Row, seeds: int, base_seeds: int, console: Console
) -> list[Study]:
    """The repeats of one configuration, with the metrics that were asked for: a study of each base
    model."""
    studies = []
    for base_seed in range(base_seeds):
        scenario = study.spec.scenario
        other = (scenario.seed + base_seed) % (MOST_SEED + 1)
        scenario = scenario.model_copy(update={"seed": other})
        name = confirmed_name(study.name, row["number"], scenario.seed)
        spec = repeated(study.spec, name, seeds, hyperparameters(dict(row)))
        spec = spec.model_copy(update={"scenario": scenario, "metrics": asked.metrics})
        origin = Origin(study.name, row["number"])
        studies.append(run(spec, study.root / CONFIRMED, study.places, console, origin))
    return studies


def _entry(row: Row, repeats: Sequence[Study], seeds: int) -> Entry:
    rows = [row for study in repeats for row in study.results().slice(0, seeds).to_pylist()]
    method, values = repeats[0].spec.method, json.loads(row["params_json"])
    return Entry(method, rows, values, control=methods.is_control(method))


def made_with(study: Study, top: int, seeds: int, base_seeds: int) -> str:
    """What a table is worth little without, in a line: data, model, precision where it is not
    float32, searches, seeds, versions."""
    scenario, described = study.spec.scenario, results.described(study.folder)
    found = described.get("versions", {})
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    precision = "" if scenario.precision == "float32" else f", {scenario.precision}"
    bases = f"base seed {scenario.seed}"
    if base_seeds > 1:
        bases = f"base seeds {scenario.seed} to {scenario.seed + base_seeds - 1}"
    return (
        f"On {short(scenario.dataset)}, {scenario.model}{precision}, forgetting {study.forgotten}: "
        f"searches of {study.spec.trials} trials (seed {study.spec.seed}), the best {top} "
        f"configurations of each repeated with {seeds} unlearning seeds, {bases}; {versions}."
    )


def _references(study: Study) -> list[Entry]:
    """The original and the retrained model, and the control, as they stand in study.json."""
    found = results.described(study.folder).get("references", {})
    return [
        Entry(
            method,
            [{"state": "complete", **{f"m_{key}": value for key, value in found[name].items()}}],
            reference=True,
            control=name == "control",
        )
        for name, method in REFERENCES.items()
        if name in found
    ]
