"""What a results folder holds of a study.

Sweeps, maps over classes and repeats lie in folders of their own; those that were made from the
study belong to it. What is missing or damaged is told, and stops nothing.
"""

from __future__ import annotations

import base64
from pathlib import Path

from search.designs.repeats import CLASSES, CONFIRMED, SWEEPS
from search.report import together
from search.report.beside import belonging, specified
from search.report.gathered import Gathered
from search.store import results
from search.store.status import status
from trainables.errors import InvalidRequest


def gather(root: Path, name: str) -> Gathered:
    """All there is of a study. Raises InvalidRequest, in one line, if there is none of this name or
    nothing has settled yet."""
    folder = results.existing(root, name)
    table, damaged = results.read_study(folder)
    if table.num_rows == 0:
        raise InvalidRequest(
            f"study {name} has no trials that settled yet"
            + ("; " + "; ".join(map(str, damaged)) if damaged else "")
            + f" (`forgetune status {name}` says how far it is)"
        )
    described = results.described(folder)
    spec = specified(described)
    problems = [f"Left out, not readable: {item}." for item in damaged]
    if spec is None:
        problems.append(
            f"{folder / 'study.json'} is missing or not readable: the specification, the original "
            "and the retrained model, and related runs are left out."
        )
    rows = list(results.rows_of(table))
    beside: list[str] = []
    belong, unclaimed = belonging(root, name, rows, spec or {}, beside)
    return Gathered(
        name=name,
        folder=folder,
        table=table,
        rows=rows,
        status=status(root, name),
        described=described,
        spec=spec or {},
        previews=_previews(folder, problems),
        sweeps=together.sweeps(belong[SWEEPS], beside),
        maps=together.maps(belong[CLASSES]),
        confirmed=together.confirmed(belong[CONFIRMED]),
        problems=problems,
        beside=beside,
        unclaimed={kind: names for kind, names in unclaimed.items() if names},
    )


def _previews(folder: Path, problems: list[str]) -> dict[str, str]:
    """The pictures of what generators make, as data URIs by name."""
    found = {}
    for path in sorted((folder / "previews").glob("*.png")):
        try:
            content = path.read_bytes()
        except OSError as error:
            problems.append(f"Left out, not readable: {path} ({error.strerror}).")
            continue
        found[path.stem] = "data:image/png;base64," + base64.b64encode(content).decode()
    return found
