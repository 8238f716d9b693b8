"""The house: which room may import which, and what others can build on whatever room it is in."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import search

ROOT = Path(search.__file__).parents[1]
PACKAGES = ("search", "trainables")

ROOMS = re.findall(
    r"^(  )?(\w+)/? {2,}\S",
    (ROOT / "CONTRIBUTING.md").read_text().partition("```\n")[2].partition("```")[0],
    re.MULTILINE,
)
"""Of CONTRIBUTING's list, whether a name is indented, and the name."""


def rooms_of(package: str) -> list[str]:
    """The rooms of a package, from the top down, as CONTRIBUTING lists them."""
    starts = [at for at, (indented, _) in enumerate(ROOMS) if not indented] + [len(ROOMS)]
    for start, end in pairwise(starts):
        if ROOMS[start][1] == package:
            return [name for _, name in ROOMS[start + 1 : end]]
    raise AssertionError(f"CONTRIBUTING lists no {package}/")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def arrows(code: str) -> Iterator[tuple[str, int]]:
    """The modules of ours that code refers to, with the line: imports at the top, in functions and
    under TYPE_CHECKING alike, and strings that are a module's name, which may be imported by it."""
    for node in ast.walk(ast.parse(code)):
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                named.append(inner if inner in MODULES else str(node.module))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            named = [name] if name in MODULES and "." in name else []
        yield from ((name, node.lineno) for name in named if name.partition(".")[0] in PACKAGES)


def room(module: str) -> str:
    """A package itself is the room over all others: its front door, which leads to any."""
    return ".".join(module.split(".")[:2])


def wrong(module: str, code: str) -> list[str]:
    """What code in a module imports that stands no lower than its own room."""
    mine = room(module)
    package = mine.partition(".")[0]
    order = [package, *(f"{package}.{name}" for name in rooms_of(package))]
    found = []
    for name, line in arrows(code):
        other = room(name)
        if other == mine:
            continue
        if name.partition(".")[0] != package:
            if package != "search":
                found.append(f"{module}:{line} imports {name}, of another package")
        elif order.index(other) <= order.index(mine):
            found.append(f"{module}:{line} imports {name}, which stands above it")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_has_its_place_on_the_list(package: str) -> None:
    there = {room(name).partition(".")[2] for name in MODULES if name.startswith(f"{package}.")}
    listed = rooms_of(package)
    assert sorted(listed) == sorted(there)
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_what_stands_below_it(module: str) -> None:
    assert wrong(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("search.ledger.journal", "from search.engine import machines"),
        ("search.ledger.journal", "def late():\n    import search.study"),
        (
            "search.definition.spec",
            "if TYPE_CHECKING:\n    from search.store.results import Row",
        ),
        ("search.store.query", "from search import Study"),
        ("search.engine.jobs", "importlib.import_module('search.cli')"),
        ("trainables.training.fused", "from trainables.metrics import evaluate"),
        ("trainables.errors", "from trainables import Scenario"),
        ("trainables.trainable", "from search.store import results"),
    ],
)
def test_an_arrow_up_is_seen(module: str, code: str) -> None:
    assert len(wrong(module, code)) == 1


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("search.cli.answers", "from search.store import results\nimport trainables"),
        ("search.engine.depot", "from search.engine.machines import on_a_cluster"),
        ("trainables.methods.mugan", "from trainables.training import fit"),
        ("trainables.data.splits", "import search_of_others, numpy.search"),
    ],
)
def test_an_arrow_down_is_fine(module: str, code: str) -> None:
    assert wrong(module, code) == []


OPTUNA_S_OWN = {"_storage", "_study_id", "_trial_id", "_cached_frozen_trial", "_thread_local"}
"""Private attributes of its studies and trials."""


def taken_from_optuna(code: str) -> list[str]:
    """Private attributes of Optuna's that code takes from something else than itself, and private
    modules that it names."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and node.attr in OPTUNA_S_OWN:
            own = isinstance(node.value, ast.Name) and node.value.id == "self"
            found += [] if own else [node.attr]
        named = getattr(node, "module", None) or getattr(node, "value", None)
        if isinstance(named, str) and re.match(r"optuna(\.\w+)*\._\w", named):
            found.append(named)
    return found


def test_optuna_s_private_parts_are_left_alone() -> None:
    files = [*(ROOT / "search").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    found = {path: taken_from_optuna(path.read_text()) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_private_part_of_optuna_is_seen() -> None:
    code = "study._storage.get_trial(trial._trial_id)\nself._storage\nimport optuna.storages"
    assert sorted(taken_from_optuna(code)) == ["_storage", "_trial_id"]
    assert taken_from_optuna("from optuna.storages.journal._file import time")
    assert taken_from_optuna("patch('optuna.storages.journal._file.time')")


SURFACE = {
    "search": {"Study", "StudySpec", "results"},
    "trainables": {
        *("Scenario", "Places", "Workbench", "run_trial", "trainable"),
        *("ForgetuneError", "InvalidRequest"),
    },
    "trainables.access": {"Access", "Granted"},
    "trainables.training": {"fit"},
    "forgetune": {"main"},
    "search.forgetune": {"main"},  # what the start of an earlier installation looks for
}
"""What others build on (CONTRIBUTING): the names of each module that stay."""


@pytest.mark.parametrize("module", SURFACE)
def test_what_others_build_on_is_where_it_was(module: str) -> None:
    names = sorted(SURFACE[module])
    program = f"from {module} import {', '.join(names)}\nprint({', '.join(names)}, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(names)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_offers_is_what_others_build_on(package: str) -> None:
    assert set(importlib.import_module(package).__all__) == SURFACE[package]


def test_readme_builds_on_nothing_else() -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    used = {
        (str(node.module), alias.name)
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in PACKAGES
        for alias in node.names
    }
    assert used
    assert {name for module, name in used if name not in SURFACE.get(module, set())} == set()


def test_results_are_read_without_torch_and_ray() -> None:
    program = (
        "import sys\nfrom search import results\n"
        "results.scan, results.study_names\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
