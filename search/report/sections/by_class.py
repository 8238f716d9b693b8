"""What becomes of each class."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from search.report import trials
from search.report.blocks import Block, Plot, Section, Text
from search.report.gathered import ClassMap, Gathered
from search.report.plots import classes as class_plots
from search.store.results import Row


def section(study: Gathered) -> Section | None:
    """The maps over forget classes, or the best trial class by class; none without either."""
    blocks: list[Block] = []
    classes, best = study.classes, study.best
    maps = shown_maps(study)
    for index, found in enumerate(maps):
        blocks.append(
            Plot(
                "classes" if index == 0 else f"classes-{index}",
                class_plots.class_map(found.targets, classes),
                map_caption(found),
            )
        )
    if not maps and best is not None and best.get("class_accuracy") and classes:
        blocks.append(
            Plot(
                "classes",
                class_plots.class_bars(_class_accuracies(study, best), classes, study.forget),
                f"The best configuration (trial {best['number']}) class by class; test images were "
                "only looked at.",
            )
        )
    if blocks and not maps and study.spec:
        blocks.append(
            Text(
                f"`forgetune classes --study {shlex.quote(study.name)}` forgets each class in turn "
                "and makes a map of it.",
                "note",
            )
        )
    return Section("by-class", "Class by class", blocks)


def map_caption(found: ClassMap) -> str:
    """What a map over classes shows, which configuration made it (or that each class has its own)
    and what that was made from."""
    repeats = max(len(target.repeats) for target in found.targets)
    seeds = "one repeat" if repeats == 1 else f"up to {repeats} repeats"
    first = found.targets[0].configuration
    own = any(target.configuration != first for target in found.targets)
    values = "each with a configuration of its own" if own else trials.written(first)
    return (
        f"A line for each forgotten class (framed), mean of {seeds}, with {found.made_from} "
        f"({values}); test images, which were only looked at."
    )


def shown_maps(study: Gathered) -> list[ClassMap]:
    """The maps over classes that the study's classes are known for."""
    known = len(study.classes)
    return [m for m in study.maps if all(target.label < known for target in m.targets)]


def _class_accuracies(study: Gathered, best: Row) -> dict[str, dict[str, Sequence[float | None]]]:
    """By split and model; lists that do not fit the classes are left out."""
    found = {}
    for split, column in {
        "validation": "class_accuracy",
        "test, only looked at": "test_class_accuracy",
    }.items():
        models = {"unlearned": best.get(column)} | {
            name: lists.get(column) for name, lists in study.references_by_class.items()
        }
        found[split] = {n: v for n, v in models.items() if v and len(v) == len(study.classes)}
    return found
