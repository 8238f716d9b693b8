"""study.json: what a study is, and what was found out about it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.definition.differing import differences, keeping_split
from search.definition.space import SearchSpace
from search.definition.spec import StudySpec
from search.ledger.versions import installed
from search.store.mirror import move, put
from search.store.results import SCHEMA_VERSION, load_json, unusable
from trainables.errors import InvalidRequest

MADE_FROM = "made_from"
"""Key of study.json: a list of what the study was made from, as the same run may have been asked
for from several studies."""


class Description:
    """The study.json of the study in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "study.json"

    def read(self) -> dict[str, Any]:
        """What stands there; empty if it cannot be read."""
        return load_json(self.path) or {}

    def claim(
        self, spec: StudySpec, space: SearchSpace, dataset_fingerprint: str, target: int
    ) -> list[str]:
        """Write down that the study is this one; notes on what was found damaged.

        Raises InvalidRequest if it is another one (with the differences), OSError if it cannot be
        written.
        """
        notes = []
        described = self.read()
        mine: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "spec": spec.model_dump(mode="json"),
            "target": target,
            "space": space.describe(),
            "space_fingerprint": space.fingerprint(),
            "dataset_fingerprint": dataset_fingerprint,
            "versions": {name: installed(name) for name in ("forgetune", "torch", "ray", "optuna")},
        }
        if described:
            before = described.get("spec", {})
            changed = differences(before, mine["spec"])
            for key in ("dataset_fingerprint", "space_fingerprint"):
                if not changed and described.get(key) != mine[key]:
                    changed.append(f"{key}: {described.get(key)} -> {mine[key]}")
                    if key == "space_fingerprint":  # of an earlier version of the method's space
                        changed += _other_bounds(described.get("space"), mine["space"])
            if changed:
                options = keeping_split(before, changed)
                going_on = f", or go on with the validation images it has ({options})"
                raise InvalidRequest(
                    f"study {spec.name} exists and is another one ({'; '.join(changed)}); "
                    f"give this one another --name{going_on if options else ''}"
                )
        elif self.path.exists():
            aside = self.path.with_name(f"study.json.damaged-{int(time.time())}")
            move(self.path, aside)
            notes.append(f"{self.path}: not readable; set aside as {aside.name} and written anew")
        self._write({**described, **mine})
        return notes

    def record(self, facts: Mapping[str, Any]) -> None:
        """Put what was found out about the study there, under keys of its own.

        Raises InvalidRequest if it cannot be written.
        """
        described = self.read()
        if any(described.get(key) != value for key, value in facts.items()):
            try:
                self._write({**described, **facts})
            except OSError as error:
                raise unusable(self.path.parent, error) from error

    def record_preparation(self, spent: Mapping[str, float | None]) -> None:
        """Put there what was built for the study, with its seconds (None: found).

        What an earlier run of the study had to build stays on record.
        """
        before = self.read().get("preparation", {})
        self.record({"preparation": {**spent, **{k: v for k, v in before.items() if v}}})

    def record_origin(self, origin: Mapping[str, Any]) -> None:
        """Note what the study was made from, after what it was made from before."""
        before = self.read().get(MADE_FROM)
        known = before if isinstance(before, list) else []
        if origin not in known:
            self.record({MADE_FROM: [*known, dict(origin)]})

    def _write(self, described: Mapping[str, Any]) -> None:
        put(self.path, json.dumps(described, indent=1).encode())


def _other_bounds(before: Any, after: Mapping[str, str]) -> list[str]:
    """What varies over something else than it did, as two descriptions of a space have it."""
    known = before if isinstance(before, Mapping) else {}
    return [
        f"{name}: {known.get(name, 'fixed')} -> {after.get(name, 'fixed')}"
        for name in sorted({*known, *after})
        if known.get(name) != after.get(name)
    ]
