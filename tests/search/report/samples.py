"""A study of known rows for pages and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.designs.repeats import Origin
from search.store import results
from search.store.results import Row
from tests.search.toys import toy_row, write_study

CLASSES = [f"digit {label}" for label in range(10)]

DESCRIBED: dict[str, Any] = {
    "versions": {"forgetune": "0.1.0", "torch": "2.14.1"},
    "references": {
        "base": {
            "forget_accuracy": 100.0,
            "retain_accuracy": 99.0,
            "mia": 80.0,
            "test_forget_accuracy": 99.0,
            "test_retain_accuracy": 98.0,
            "test_mia": 81.0,
        },
        "retrained": {
            "forget_accuracy": 0.0,
            "retain_accuracy": 99.5,
            "mia": 4.0,
            "test_forget_accuracy": 0.0,
            "test_retain_accuracy": 98.5,
            "test_mia": 5.0,
        },
    },
    "classes": CLASSES,
    "references_by_class": {
        "base": {"class_accuracy": [99.0] * 10, "test_class_accuracy": [98.0] * 10},
        "retrained": {"class_accuracy": [98.0] * 10, "test_class_accuracy": [97.0] * 10},
    },
    "training_curves": {
        name: [{"training_loss": 1.5, "validation_accuracy": 50.0}] * 3
        for name in ("base", "retrained")
    },
    "preparation": {"base": 12.5, "gan 1": None},
}


def rows() -> list[Row]:
    """Twelve trials: 0 to 9 complete, the best is number 0; 10 was pruned, 11 diverged."""
    found = [
        toy_row(
            number,
            {"learning_rate": 10.0 ** -(1 + number % 5), "samples_per_class": 100 + 50 * number},
            class_accuracy=[90.0] * 10,
            test_class_accuracy=[89.0] * 10,
            queue_seconds=0.1,
        )
        for number in range(10)
    ]
    curve = {"curve_forget_accuracy": [9.0, 8.0], "curve_retain_accuracy": [80.0, 81.0]}
    found.append(toy_row(10, state="pruned", **curve, curve_gap=[7.0, 6.5]))
    found.append(toy_row(11, state="diverged", reason="the loss became nan at step 17"))
    return found


def write_sample(root: Path, name: str = "toy", **values: Any) -> Path:
    """The study of `rows`, with all that study.json can tell; `values` replace keys of it."""
    folder = write_study(root, rows(), name, sampler="tpe", trials=12)
    describe(folder, **{**DESCRIBED, **values})
    return folder


def describe(folder: Path, **values: Any) -> None:
    """Replace keys of a study.json."""
    path = folder / "study.json"
    stored = results.load_json(path) or {}
    path.write_text(json.dumps({**stored, **values}))


def write_related(
    root: Path,
    name: str,
    rows: list[Row],
    space: dict[str, Any],
    made_from: Sequence[Origin] = (),
    **scenario: Any,
) -> Path:
    """A study of one of the folders beside, with this space and these changes to the scenario; as
    an earlier version made it unless it says what it was `made_from`."""
    folder = write_study(root, rows, name, sampler="random", trials=max(1, len(rows)))
    described = results.load_json(folder / "study.json") or {}
    spec = described["spec"]
    spec = {**spec, "space": space, "scenario": {**spec["scenario"], **scenario}}
    origins = {"made_from": [origin.stored() for origin in made_from]} if made_from else {}
    describe(folder, **{**DESCRIBED, "spec": spec, **origins})
    return folder
