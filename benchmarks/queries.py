"""How long the best configuration over many trials takes, start of the command included.

    python benchmarks/queries.py [--studies 100] [--trials 10000] [--scenarios 1]

Makes that many studies of random rows in a temporary folder, one file each as a finished study
leaves them, and asks for the best five with `forgetune query` and, of each scenario, with
`forgetune best`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from search.store import results, schema

BEST = (
    "SELECT study, number, m_gap, p_learning_rate, p_samples_per_class FROM trials"
    " WHERE state = 'complete' ORDER BY m_gap LIMIT 5"
)
RUN = "from search.cli import main; main()"


def make_study(root: Path, index: int, trials: int, base_seed: int) -> None:
    rng = np.random.default_rng(index)
    row = {
        **{field.name: None for field in [*schema.CORE, *schema.LAST_FIELDS]},
        **{"study": f"study-{index}", "attempt": 1, "state": "complete", "method": "mugan"},
        **{"dataset": "digits", "model": "allcnn", "forget": "3", "params_json": "{}"},
        **{"objective": "pareto", "started": datetime.now(UTC), "finished": datetime.now(UTC)},
        **{"p_learning_rate": 0.0, "p_samples_per_class": 0, "number": 0},
        **{"base_seed": base_seed},
    }
    fields = schema.schema_of(row)
    columns = {name: pa.array([row[name]] * trials, fields.field(name).type) for name in row}
    columns["number"] = pa.array(np.arange(trials))
    columns["p_learning_rate"] = pa.array(10 ** rng.uniform(-8, -1, trials))
    columns["p_samples_per_class"] = pa.array(rng.integers(100, 10_000, trials))
    for field in schema.METRIC_FIELDS:
        columns[field.name] = pa.array(rng.uniform(0, 100, trials))
    folder = results.study_folder(root, f"study-{index}") / "trials"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=fields), folder / "compact-0.parquet")
    scenario = {"dataset": "digits", "model": "allcnn", "forget": [3], "seed": base_seed}
    described = {"spec": {"method": "mugan", "objective": "pareto", "scenario": scenario}}
    (folder.parent / "study.json").write_text(json.dumps(described))


def seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", RUN, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--scenarios", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(given.studies):
            make_study(Path(folder), index, given.trials, index % given.scenarios)
        rows = given.studies * given.trials
        place = ("--results", folder)
        for name, command in (("query", ("query", BEST)), ("best", ("best",))):
            times = sorted(seconds(*command, *place) for _ in range(5))
            print(
                f"forgetune {name} over {rows:,} rows: median {median(times):.2f} s"
                f" ({times[0]:.2f} to {times[-1]:.2f})"
            )


if __name__ == "__main__":
    main()
