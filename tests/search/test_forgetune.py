"""The command's start: others' modules in place of ours, Python's or those that we need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.toys import hostile, only_line

COMMAND = Path(sys.executable).with_name("forgetune")


def forgetune(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as it is installed, or, told by its first argument, as a module."""
    command = [sys.executable, *arguments] if arguments[0] == "-m" else [str(COMMAND), *arguments]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "name",
    [
        *("search.py", "search/__init__.py", "spaces.py", "trainables/__init__.py", "torch.py"),
        *("numpy/__init__.py", "ray.py", "typer.py", "yaml.py", "random.py", "queue/__init__.py"),
        *("pandas.py", "requests/__init__.py", "google/__init__.py", "attr.py", "click.py"),
    ],
)
def test_a_foreign_module_on_the_path_is_one_line(tmp_path: Path, name: str) -> None:
    folder = hostile(tmp_path / "theirs", [name])
    done = forgetune("methods", cwd=tmp_path, PYTHONPATH=str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"found at {folder / name} " in only_line(done.stderr)
    assert not (folder / "imported").exists()


def test_modules_on_the_path_that_stand_in_nobodys_place_are_fine(tmp_path: Path) -> None:
    folder = hostile(tmp_path / "theirs", ["my_models.py", "files.py"])
    (folder / "random").mkdir()  # a folder without __init__.py comes after all packages
    done = forgetune("methods", cwd=tmp_path, PYTHONPATH=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert "mugan" in done.stdout


@pytest.mark.parametrize("start", [["methods"], ["-m", "search", "methods"]])
def test_the_current_folder_is_none_of_the_commands(tmp_path: Path, start: list[str]) -> None:
    # Python itself imports some of its modules, and `search`, from where `-m` starts.
    names = ["spaces.py", "trainables.py", "torch.py", "typer.py", "yaml.py", "random.py"]
    folder = hostile(tmp_path, names if start[0] == "-m" else [*names, "search.py", "types.py"])
    done = forgetune(*start, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mugan" in done.stdout
    assert not (folder / "imported").exists()


@pytest.mark.parametrize("name", ["trainables.py", "torch.py"])
def test_another_program_is_told_of_a_foreign_module_and_imports_none(
    tmp_path: Path, name: str
) -> None:
    folder = hostile(tmp_path, [name])
    program = [sys.executable, "-c", "from search import Study"]  # which looks in its folder first
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"found at {folder / name} " in last
    assert not (folder / "imported").exists()
