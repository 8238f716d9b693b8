"""How to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import tomli_w

from search.report.blocks import Block, Code, Line, Section, Table, word
from search.report.gathered import Gathered
from search.store.mirror import place_of


def section(study: Gathered) -> Section | None:
    """The exact specification and the commands for it."""
    blocks: list[Block] = []
    best, name = study.best, shlex.quote(study.name)
    place = place_of(study.folder.parent)
    where = "" if place == "results" else f" --results {shlex.quote(place)}"
    if study.spec:
        blocks.append(
            Code(tomli_w.dumps(without_none(study.spec)), "Exact specification (study.toml)")
        )
        blocks.append(
            Code(f"forgetune run study.toml{where}", "The whole study again, or its rest")
        )
    if best is not None:
        command = (
            f"forgetune best {name}{where} --toml > best.toml && "
            f"forgetune trial best.toml --seed {best['seed']}"
        )
        blocks.append(Code(command, f"The best trial ({best['number']}) again"))
    versions = study.described.get("versions")
    if isinstance(versions, Mapping) and versions:
        lines = [Line([word(package), word(version)]) for package, version in versions.items()]
        blocks.append(Table(["package", "version"], lines))
    return Section("reproduce", "Specification and reproduction", blocks)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values without None, which TOML has not."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
