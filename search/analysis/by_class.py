"""Accuracy class by class for each forget target (figures 8-10 of the thesis). Pure functions."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.analysis.sheets import Cell, Line, Sheet, cell
from trainables.data.classes import short
from trainables.outcome import State

Row = Mapping[str, Any]

SPLITS = {"test": "test_class_accuracy", "validation": "class_accuracy"}


@dataclass(frozen=True)
class Target:
    """A class that was to be forgotten: the repeats of a configuration, and the accuracies in
    percent of the retrained model on each class, by split; or why there are none."""

    label: int
    repeats: Sequence[Row] = ()
    retrained: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None

    def accuracies(self, split: str, num_classes: int) -> list[Cell]:
        """Mean and deviation for each class over the repeats that ended well."""
        lists = [row.get(SPLITS[split]) for row in self.repeats if row["state"] == State.COMPLETE]
        known = [accuracies for accuracies in lists if accuracies]
        columns = [[found[label] for found in known] for label in range(num_classes)]
        return [cell([value for value in column if value is not None]) for column in columns]

    def references(self, split: str, num_classes: int) -> list[Cell]:
        """The retrained model's."""
        found = self.retrained.get(SPLITS[split]) or [None] * num_classes
        return [cell([] if value is None else [value]) for value in found]

    @property
    def remark(self) -> str:
        """The reason, or how repeats ended that did not end well."""
        states = Counter(row["state"] for row in self.repeats if row["state"] != State.COMPLETE)
        ended = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return self.reason or ended


def sheet(targets: Sequence[Target], classes: Sequence[str], split: str = "test") -> Sheet:
    """Two lines for each target, the unlearned and the retrained model; a column for each class,
    in percent. Classes are told by number and name."""
    names = [short(label, classes) for label in range(len(classes))]
    lines = []
    for target in targets:
        name = names[target.label]
        found = target.accuracies(split, len(classes))
        lines.append(Line([name, "unlearned"], found, len(target.repeats), target.remark))
        retrained = target.references(split, len(classes))
        lines.append(Line([name, "retrained"], retrained, 1 if target.retrained else 0))
    return Sheet(["forget", "model"], names, lines)


def summary(targets: Sequence[Target], num_classes: int, split: str = "test") -> dict[str, float]:
    """Means over targets, in percent: accuracy on the class that was to be forgotten ("forgotten")
    and on all others ("kept"). Empty if nothing was measured."""
    forgotten, kept = [], []
    for target in targets:
        means = [found.mean for found in target.accuracies(split, num_classes)]
        own = means.pop(target.label)
        if own is not None:
            forgotten.append(own)
            kept.append(statistics.fmean(value for value in means if value is not None))
    if not forgotten:
        return {}
    return {"forgotten": statistics.fmean(forgotten), "kept": statistics.fmean(kept)}
