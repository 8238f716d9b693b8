"""What sets a stored specification apart from another."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from search.definition.earlier import stored
from search.definition.reading import validate
from search.definition.space import SearchSpace
from search.definition.spec import EXECUTION, measured
from trainables.errors import InvalidRequest


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for all that says what a study is and is not the same.

    What `before` does not name has its default: an earlier version may not have known it. How the
    base model is inverted is no part of a study that does not invert it.
    """
    before = stored(before)
    with contextlib.suppress(InvalidRequest):
        before = validate(before).model_dump(mode="json")
    lines = []
    ignored = {*EXECUTION, "name", *([] if _inverts(before) or _inverts(after) else ["inversion"])}
    for key in sorted({*before, *after} - ignored):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += [
                f"{key}.{part}: {old.get(part)} -> {new.get(part)}"
                for part in sorted({*old, *new})
                if old.get(part) != new.get(part)
            ]
        elif old != new:
            lines.append(f"{key}: {old} -> {new}")
    return lines


def _inverts(described: Mapping[str, Any]) -> bool:
    """Whether the base model is inverted for the study of a stored specification; so, where that
    cannot be told."""
    try:
        spec = validate(described)
        needs = SearchSpace(spec.method, spec.space).needs
    except InvalidRequest:
        return True
    from trainables.access import Access

    return "synthetic" in measured(spec) or Access.INVERTED in needs


def keeping_split(before: Mapping[str, Any], changed: Sequence[str]) -> str:
    """The options that keep the validation images of a stored specification, where these alone
    have `changed`, as they may have by other defaults; else empty."""
    if not all(line.startswith("scenario.validation_") for line in changed):
        return ""
    scenario = stored(before)["scenario"]
    share = scenario.get("validation_fraction")
    return f"--validation-from {scenario['validation_from']}" + (
        "" if share is None else f" --validation-fraction {share}"
    )
