"""The short form of `benchmarks/faults.py`: one study, one fault of each kind, nothing lost."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

PLAN = ["worker", "driver", "full disk", "node", "added node", "slow disk", "head"]


@pytest.mark.skipif(sys.platform != "linux", reason="faults are found and made through /proc")
def test_whatever_is_killed_every_trial_settles_once_as_if_nothing_had_happened(
    faults: ModuleType,
) -> None:
    with faults.campaign(40, 0, plan=PLAN, pause=(0.5, 1.5)) as run:
        found = run.run_study("study", len(PLAN))
    assert {name: found[name] for name in faults.FINDINGS} == dict.fromkeys(faults.FINDINGS, 0)
    assert found["faults"] >= 5, "the study ended before it was disturbed"
    assert run.counts["worker"] + run.counts["driver"] >= 2
