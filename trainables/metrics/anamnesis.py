"""The anamnesis index (Chundawat et al. 2023, "Zero-Shot Machine Unlearning"; thesis, eq. 10)."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from trainables.data import Samples
from trainables.metrics.accuracy import accuracy
from trainables.metrics.evaluate import predict
from trainables.training import adam, descend


@dataclass(frozen=True)
class Relearning:
    """Steps of relearning and the seconds they took; `capped` if the target was not reached."""

    steps: int
    seconds: float
    capped: bool


def relearn(
    model: nn.Module,
    training: Samples,
    held_out: Samples,
    target: float,
    seed: int,
    *,
    batch_size: int = 256,
    most_epochs: int = 10,
    learning_rate: float = 1e-3,
) -> Relearning:
    """Steps of Adam on all of `training` until a copy of `model` is `target` percent right.

    Looked at after every step, on `held_out` (of the forget classes), so at least one step. The
    batches follow from `seed` alone: models are compared on the same ones. Training mode for
    each step, evaluation mode for each look. Stops at `most_epochs` epochs. Raises Diverged.
    """
    learner = copy.deepcopy(model)
    optimizer = adam(learner.parameters(), learning_rate)
    rng = torch.Generator(training.labels.device).manual_seed(seed)
    started = time.perf_counter()
    steps = 0
    for _ in range(most_epochs):
        for images, labels in training.batches(batch_size, rng):
            learner.train()
            descend(functional.cross_entropy(learner(images), labels), optimizer)
            steps += 1
            if accuracy(predict(learner, held_out.images), held_out.labels) >= target:
                return Relearning(steps, time.perf_counter() - started, capped=False)
    return Relearning(steps, time.perf_counter() - started, capped=True)


def anamnesis_index(unlearned: Relearning, retrained: Relearning) -> float:
    """Eq. 10: relearning steps of the unlearned model over those of the retrained one.

    1 is as forgetful as retraining; near 0, the knowledge was only hidden. Where one of the two is
    capped this is a bound: say so beside it.
    """
    return unlearned.steps / retrained.steps
