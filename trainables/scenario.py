"""What is to be forgotten, and where things lie. Values only: no torch, no ray."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

THESIS_EPOCHS = 30
THESIS_LEARNING_RATE = 1e-3
THESIS_BATCH_SIZE = 64


def cache_folder() -> Path:
    """The user's cache folder of forgetune (`XDG_CACHE_HOME` is honoured)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "forgetune"


@dataclass(frozen=True)
class Places:
    """Where data and artifacts lie on this machine; never part of what a trial *is*."""

    data: Path = field(default_factory=lambda: cache_folder() / "data")
    artifacts: Path = field(default_factory=lambda: cache_folder() / "artifacts")

    def __post_init__(self) -> None:
        # Workers run in other folders than the one in which a relative path was meant.
        for name in ("data", "artifacts"):
            object.__setattr__(self, name, Path(getattr(self, name)).expanduser().absolute())


@dataclass(frozen=True)
class Scenario:
    """What is to be forgotten: dataset, model, forget classes, and how the base model was made.

    The recipe's defaults are the thesis' (section 4: Adam, 1e-3, 30 epochs). `width` scales the
    channels of AllCNN, `gan_width` those of the DCGANs. `validation_fraction` is the share (0 to 1)
    of the training set that is held out, stratified, for the search. `seed` is the seed of base
    training and of the generators; `evaluation_seed` that of the attack's draws and of relearning;
    a trial's own seed is neither. The anamnesis index (eq. 10) counts steps on batches of
    `anamnesis_batch_size` until a model is right for 1 - `anamnesis_alpha` of what the base model
    was right for, `anamnesis_epochs` epochs at most.
    """

    dataset: str = "digits"
    forget: tuple[int, ...] = (3,)
    model: str = "allcnn"
    width: float = 0.25
    validation_fraction: float = 0.2
    seed: int = 0
    evaluation_seed: int = 0
    epochs: int = THESIS_EPOCHS
    learning_rate: float = THESIS_LEARNING_RATE
    batch_size: int = THESIS_BATCH_SIZE
    gan_steps: int = 1_000
    gan_width: float = 1.0
    anamnesis_alpha: float = 0.05
    anamnesis_batch_size: int = 256
    anamnesis_epochs: int = 10

    def __post_init__(self) -> None:
        # Scenarios that are equal must name the same artifacts: 1 and 1.0 are written differently.
        for name in (
            "width",
            "validation_fraction",
            "learning_rate",
            "gan_width",
            "anamnesis_alpha",
        ):
            object.__setattr__(self, name, float(getattr(self, name)))
