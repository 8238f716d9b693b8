"""What other processes do in the tests of the store; they import this and little else."""

from __future__ import annotations

import hashlib
import json
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from trainables.artifacts.store import Built, Store

KIND = "thing"
WHAT = {"seed": 3, "data": "abc", "forget": [1]}
PATIENCE = 120
"""Seconds after which a process is given up; never waited for when all is well."""


def ask(folder: Path, log: Path, barrier: Barrier) -> None:
    """Ask at the same moment as the others, and note what came of it."""

    def slowly() -> Built:
        with (log / "built").open("a") as file:
            file.write(f"{os.getpid()}\n")
        # Long enough for all others to ask meanwhile.
        work = hashlib.pbkdf2_hmac("sha256", b"", b"", 400_000)
        return {"weight": torch.tensor(list(work))}, {}

    barrier.wait(PATIENCE)
    artifact = Store(folder).obtain(KIND, WHAT, slowly)
    (log / f"asked-{os.getpid()}").write_text(
        json.dumps([artifact.origin, artifact.tensors["weight"].tolist()])
    )


def die_while_building(folder: Path) -> None:
    """Be killed with the lock in hand."""
    Store(folder).obtain(KIND, WHAT, lambda: os._exit(9))
