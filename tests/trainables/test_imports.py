"""Who may import whom: trials run without ray and optuna, requests are checked without torch."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainables

ROOT = Path(trainables.__file__).parent
SEARCH = ROOT.parent / "search"


def files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, f"no sources in {folder}"
    return found


def imported(path: Path) -> set[str]:
    """Top-level names of all that a file imports, within functions as well."""

    def names(tree: ast.AST) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno} imports relatively"
                yield node.module or ""

    return {name.partition(".")[0] for name in names(ast.parse(path.read_text()))}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT.parent))


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded in a fresh interpreter after this code."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("path", files(ROOT), ids=relative)
def test_trainables_imports_neither_search_nor_spaces_nor_their_engines(path: Path) -> None:
    forbidden = {"search", "spaces", "optuna"}
    if path != ROOT / "trainable.py":
        forbidden.add("ray")
    assert not imported(path) & forbidden


@pytest.mark.parametrize("path", files(SEARCH), ids=relative)
def test_search_imports_torch_nowhere(path: Path) -> None:
    assert not imported(path) & {"torch", "torchvision", "safetensors"}


def test_requests_are_checked_without_torch() -> None:
    loaded = modules_after(
        "import trainables, trainables.errors, trainables.scenario, trainables.outcome, "
        "trainables.data.sources, trainables.methods; trainables.methods.check_known('mugan')"
    )
    assert "numpy" in loaded
    assert not loaded & {"torch", "torchvision", "ray", "optuna", "sklearn", "PIL"}


def test_all_but_the_trainable_can_be_imported_where_ray_and_optuna_are_not() -> None:
    names = [
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for path in files(ROOT)
        if path.name not in ("__init__.py", "trainable.py")
    ]
    blocked = "import sys; sys.modules.update(ray=None, optuna=None, search=None, spaces=None); "
    loaded = modules_after(blocked + "; ".join(f"import {name}" for name in names))
    assert "torch" in loaded


def test_the_lazy_names_are_those_of_their_modules() -> None:
    from trainables.trial import run_trial
    from trainables.workbench import Workbench

    assert trainables.run_trial is run_trial
    assert trainables.Workbench is Workbench
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = trainables.nothing
