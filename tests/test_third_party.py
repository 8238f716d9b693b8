"""README's example of somebody else's package, taken from README itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from search.store import results
from trainables.scenario import Places

README = Path(__file__).parents[1] / "README.md"

STUDY = """
name = "theirs"
method = "noisy_repair"
trials = 3

[scenario]
dataset = "{dataset}"
forget = [1]
width = 0.1
epochs = 6
batch_size = 32
"""


def block(language: str, containing: str) -> str:
    """The one block of README in this language that contains a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = [text for text in blocks if containing in text]
    return str(found)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that holds what `pip install ./noisy-repair` puts into an environment."""
    folder = tmp_path / "site"
    project = tomllib.loads(block("toml", "forgetune.methods"))["project"]
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (folder / "noisy_repair.py").write_text(block("python", "class NoisyRepair"))
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())])
        for group, entries in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    return folder


def test_a_method_of_another_package_is_listed_searched_and_stored(
    tmp_path: Path, installed: Path, three_digits: Path, places: Places
) -> None:
    """Also after it was broken, which spends no trial."""

    def forgetune(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from search.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    listed = forgetune("methods")
    assert "Blurs the weights with noise" in listed.stdout, listed.stderr
    assert "0.01..1 (log)" in forgetune("spaces", "noisy_repair").stdout

    (tmp_path / "study.toml").write_text(STUDY.format(dataset=three_digits))
    command = ("run", "study.toml", "--curves", "--artifacts", str(places.artifacts))
    source = (installed / "noisy_repair.py").read_text()
    broken = source.replace("with torch.no_grad():", "self.nosuch()\n        with torch.no_grad():")
    (installed / "noisy_repair.py").write_text(broken)
    run = forgetune(*command)
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert "Traceback" not in run.stderr
    last = run.stderr.splitlines()[-1]
    assert last.startswith("forgetune: 3 trials crashed before any had ended otherwise: Attribute")
    assert results.scan(tmp_path / "results", "theirs").num_rows == 0

    (installed / "noisy_repair.py").write_text(source)
    run = forgetune(*command)
    assert run.returncode == 0, run.stderr
    rows = results.scan(tmp_path / "results", "theirs").to_pylist()
    assert [(row["method"], row["state"]) for row in rows] == [("noisy_repair", "complete")] * 3
    for row in rows:
        values = json.loads(row["params_json"])
        assert values["noise"] == row["p_noise"]
        assert len(row["curve_gap"]) == 1 + row["p_epochs"]
