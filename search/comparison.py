"""Comparing methods fairly: search each, then repeat its best configurations with other seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search import results
from search.analysis.best import by_gap
from search.analysis.compare import Entry, Row, choose
from search.progress import Progress
from search.repeats import CONFIRMED, repeated, run
from search.spec import StudySpec
from search.study import Study
from search.tables import hyperparameters
from trainables.errors import ForgetuneError
from trainables.scenario import MOST_SEED, Places


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
    """An entry for each specification, after those of the original and the retrained model.

    Studies that are there are continued, and repeats that settled are not run again. Each of the
    `top` configurations is run with `seeds` unlearning seeds on each of `base_seeds` base models;
    the one with the smallest mean of what steered the search is the method's. A method whose search
    fails keeps its entry, with the reason. Raises InvalidRequest for specifications that cannot be
    run and KeyboardInterrupt for a run that was interrupted.
    """
    entries: list[Entry] = []
    references: list[Entry] = []
    # What cannot be asked for at all is refused before anything runs.
    studies = [Study(spec, root=root, places=places) for spec in specs]
    for study in studies:
        spec = study.spec
        try:
            Progress(console).say(f"{spec.method}: study {study.name}")
            study.run(Progress(console))
            best = by_gap(study.results(), top).to_pylist()
            if not best:
                entries.append(Entry(spec.method, reason="no trial completed"))
                continue
            found = []
            for rank, row in enumerate(best, start=1):
                Progress(console).say(
                    f"{spec.method}: repeating configuration {rank} of {len(best)}"
                )
                found.append(_confirmed(study, row, seeds, base_seeds, console))
            entries.append(choose(found))
            references = references or _references(study)
        except ForgetuneError as error:
            Progress(console).say(f"{spec.method}: {error}")
            entries.append(Entry(spec.method, reason=str(error)))
    return [*references, *entries]


def _confirmed(study: Study, row: Row, seeds: int, base_seeds: int, console: Console) -> Entry:
    """The repeats of one configuration."""
    repeats: list[Row] = []
    for base_seed in range(base_seeds):
        scenario = study.spec.scenario
        other = (scenario.seed + base_seed) % (MOST_SEED + 1)
        scenario = scenario.model_copy(update={"seed": other})
        name = f"{study.name[:80]}-{row['number']}-base-{scenario.seed}"
        spec = repeated(study.spec, name, seeds, hyperparameters(dict(row)))
        spec = spec.model_copy(update={"scenario": scenario})
        repeat = run(spec, study.root / CONFIRMED, study.places, console)
        repeats += repeat.results().slice(0, seeds).to_pylist()
    return Entry(study.spec.method, repeats, json.loads(row["params_json"]))


def _references(study: Study) -> list[Entry]:
    """The original and the retrained model as they stand in study.json."""
    described = results.load_json(study.folder / "study.json") or {}
    names = {"base": "original", "retrained": "retrained"}
    return [
        Entry(
            names[name],
            [{"state": "complete", **{f"m_{metric}": value for metric, value in found.items()}}],
            reference=True,
        )
        for name, found in described.get("references", {}).items()
    ]
