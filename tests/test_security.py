"""What strangers' files and names cannot do: run code, leave the results, read other files."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import search
import trainables
from search.definition.checking import check_name
from search.definition.reading import load_spec
from search.definition.resolving import resolve
from search.designs.repeats import stored
from search.store import results
from search.store.query import Query
from tests.search.toys import toy_row, write_study
from trainables.artifacts.store import Store
from trainables.data.sources import read
from trainables.errors import ForgetuneError, InvalidRequest
from trainables.models.weights import inspect
from trainables.scenario import Places

FILES = sorted(
    path for package in (search, trainables) for path in Path(package.__path__[0]).rglob("*.py")
)

UNPICKLING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.target)!r}, 'w').write('code ran')",)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "code-ran"


def test_the_bomb_would_go_off(target: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.read_text() == "code ran"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_here_unpickles(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load"):
            said = [ast.unparse(keyword) for keyword in node.keywords]
            if ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in said
            assert not any(word.startswith("allow_pickle") and "False" not in word for word in said)
            continue
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("eval", "exec"):
            pytest.fail(f"{path}:{node.lineno} evaluates text")
        else:
            continue
        assert not names & UNPICKLING


def test_a_dataset_with_code_in_it_is_refused(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "data.npz"
    arrays = {name: np.array([Bomb(target)], dtype=object) for name in ("x_train", "y_train")}
    np.savez(path, **arrays, x_test=np.zeros(1), y_test=np.zeros(1))
    with pytest.raises(ForgetuneError):
        read(str(path), tmp_path)
    assert not target.exists()


def test_weights_with_code_in_them_are_refused(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(ForgetuneError):
        inspect(path)
    assert not target.exists()


def test_an_artifact_with_code_in_it_is_set_aside(tmp_path: Path, target: Path) -> None:
    import torch

    store = Store(tmp_path)
    built = store.obtain("base", {}, lambda: ({"w": torch.ones(1)}, {}))
    for path in tmp_path.glob("base-*"):
        path.write_bytes(pickle.dumps(Bomb(target)))
    again = store.obtain("base", {}, lambda: ({"w": torch.ones(1)}, {}))
    assert again.origin == "rebuilt"
    assert again.tensors["w"].equal(built.tensors["w"])
    assert not target.exists()


@pytest.mark.parametrize("name", ["study.json", "trials/part-000001-1.parquet", "journal.log"])
def test_results_with_code_in_them_run_none(tmp_path: Path, target: Path, name: str) -> None:
    folder = write_study(tmp_path, [toy_row(0)])
    (folder / name).write_bytes(pickle.dumps(Bomb(target)))
    table, damaged = results.examine(tmp_path)
    assert table.num_rows == 1
    assert len(damaged) == (name.endswith("parquet"))
    if name == "study.json":
        with pytest.raises(InvalidRequest):
            stored(tmp_path, "toy")
    assert Query(tmp_path).run("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 1}]
    assert not target.exists()


HOSTILE = [
    *("../out", "/tmp/out", "a/b", "..", ".", ".hidden", "a\\b", "a\0b", "a\nb", "", " ", "-rf"),
    *("a" * 101, "study=x/../../y", "~/x", "$(id)", "ä", "a b", "C:x"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_never_become_paths_outside_the_results(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        check_name(name)
    places = Places(data=tmp_path, artifacts=tmp_path)
    with pytest.raises(InvalidRequest):
        resolve(load_spec(None, {"name": name}), places)


@pytest.mark.parametrize("name", [*HOSTILE, "inside/../../study=outside", "inside/trials/.."])
def test_asking_for_a_hostile_name_reads_nothing_outside(name: str, tmp_path: Path) -> None:
    root = tmp_path / "results"
    write_study(root, [toy_row(0)], "inside")
    write_study(tmp_path, [toy_row(0)], "outside")
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidRequest):
        results.existing(root, name)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM '{outside}'",
        "COPY (SELECT 1) TO '{new}'",
        "ATTACH '{new}' AS other",
        "SELECT 1; COPY (SELECT 1) TO '{new}'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM read_text('http://127.0.0.1/')",
        "SELECT * FROM glob('{folder}/*')",
        "EXPORT DATABASE '{new}'",
        "PRAGMA database_list",
    ],
)
def test_a_query_reads_no_other_file_and_writes_none(sql: str, tmp_path: Path) -> None:
    root = tmp_path / "results"
    write_study(root, [toy_row(0)])
    outside, new = tmp_path / "secret.txt", tmp_path / "new"
    outside.write_text("secret")
    before = sorted(tmp_path.rglob("*"))
    read = ""
    with contextlib.suppress(InvalidRequest):
        found = Query(root).run(sql.format(outside=outside, new=new, folder=tmp_path))
        read = json.dumps(found.to_pylist(), default=str)
    assert "secret" not in read
    assert sorted(tmp_path.rglob("*")) == before


OWN_RAY = """
import subprocess, sys, ray
from search.engine.connection import start_ray
start_ray()
address = ray.get_runtime_context().gcs_address
try:
    for visitor in sys.argv[1:]:
        print(subprocess.run([sys.executable, "-c", visitor, address], timeout=100).returncode)
finally:
    ray.shutdown()
"""

VISITOR = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=5)
"""

WITHOUT_THE_TOKEN = """
import os
os.environ["RAY_AUTH_TOKEN"] = "0" * 64
"""


def test_who_does_not_know_the_token_is_refused_by_the_ray_of_one_machine() -> None:
    """Ray listens on all of a machine's interfaces, and has no setting for that."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    visitors = [VISITOR, WITHOUT_THE_TOKEN + VISITOR]
    done = subprocess.run(
        [sys.executable, "-c", OWN_RAY, *visitors],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["0", "1"], done.stderr
    assert "InvalidAuthToken" in done.stderr
