"""The short form of `benchmarks/faults.py`: one study, one fault of each kind, nothing lost."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "faults.py"
PLAN = ["worker", "driver", "full disk", "node", "added node", "slow disk", "head"]


@pytest.mark.skipif(sys.platform != "linux", reason="faults are found and made through /proc")
def test_whatever_is_killed_every_trial_settles_once_as_if_nothing_had_happened() -> None:
    spec = importlib.util.spec_from_file_location("faults", PATH)
    assert spec is not None
    assert spec.loader is not None
    faults = sys.modules["faults"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(faults)
    with faults.campaign(40, 0, plan=PLAN, pause=(0.5, 1.5)) as run:
        found = run.run_study("study", len(PLAN))
    assert {name: found[name] for name in faults.FINDINGS} == dict.fromkeys(faults.FINDINGS, 0)
    assert found["faults"] >= 5, "the study ended before it was disturbed"
    assert run.counts["worker"] + run.counts["driver"] >= 2
