"""Spaces know optuna and nothing else: no torch, no ray, nothing of ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import spaces

ROOT = Path(spaces.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_space_imports_only_optuna_and_the_standard_library(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").partition(".")[0])
    assert found <= {"optuna", "spaces"} | set(sys.stdlib_module_names)


def test_importing_every_space_loads_neither_torch_nor_ray() -> None:
    names = [f"spaces.{path.stem}" for path in FILES if path.stem != "__init__"]
    assert names
    code = "; ".join(
        [
            *(f"import {name}" for name in ["spaces", *names]),
            "import sys",
            "print([m for m in ('torch', 'ray', 'trainables', 'search') if m in sys.modules])",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
