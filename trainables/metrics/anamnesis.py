"""The anamnesis index (Chundawat et al. 2023, "Zero-Shot Machine Unlearning"; thesis, eq. 10)."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.models.answers import BATCH
from trainables.training.supervised import adam, descend

LOOK_EVERY = 16
"""Steps after which a GPU's results are looked at: each look at one stalls it."""


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
    look_every: int | None = None,
) -> Relearning:
    """Steps of Adam on all of `training` until a copy of `model` is `target` percent right.

    Judged after every step, on `held_out` (of the forget classes), so at least one step. The
    batches follow from `seed` alone: models are compared on the same ones. Training mode for
    each step, evaluation mode for each judgement. Stops at `most_epochs` epochs. Raises Diverged.

    The host hears of the judgements every `look_every` steps (by default each on a CPU, 16 on a
    GPU). The step that counts is the same; the seconds are this share of all that were taken.
    """
    learner = copy.deepcopy(model)
    optimizer = adam(learner.parameters(), learning_rate)
    device = training.labels.device
    rng = torch.Generator(device).manual_seed(seed)
    every = look_every or (1 if device.type == "cpu" else LOOK_EVERY)
    epochs = (training.batches(batch_size, rng) for _ in range(most_epochs))
    batches = chain.from_iterable(epochs)
    started = time.perf_counter()
    taken, reached = 0, None
    while reached is None and (group := list(islice(batches, every))):
        judged = []
        for images, labels in group:
            learner.train()
            descend(functional.cross_entropy(learner(images), labels), optimizer)
            judged.append(_correct(learner, held_out))
        for step, correct in enumerate(torch.stack(judged).tolist(), start=taken + 1):
            if correct < 0:
                raise Diverged("the outputs became non-finite")
            if correct / len(held_out) * 100 >= target:
                reached = step
                break
        taken += len(group)
    seconds = time.perf_counter() - started
    if reached is None:
        return Relearning(taken, seconds, capped=True)
    return Relearning(reached, seconds * reached / taken, capped=False)


@torch.inference_mode()
def _correct(model: nn.Module, samples: Samples) -> Tensor:
    """How many samples the model is right about, as a scalar on its device; -1 if any output is not
    finite."""
    model.eval()
    logits = torch.cat([model(part) for part in samples.images.split(BATCH)])
    right = (logits.argmax(1) == samples.labels).sum()
    return torch.where(logits.isfinite().all(), right, -1)


def anamnesis_index(unlearned: Relearning, retrained: Relearning) -> float:
    """Eq. 10: relearning steps of the unlearned model over those of the retrained one.

    1 is as forgetful as retraining; near 0, the knowledge was only hidden. Where one of the two is
    capped this is a bound: say so beside it.
    """
    return unlearned.steps / retrained.steps


def figures(unlearned: Relearning, retrained: Relearning) -> dict[str, float]:
    """What a row holds of relearning: the index, the steps, the seconds they took, and 1 where the
    index is only a bound."""
    return {
        "anamnesis_index": anamnesis_index(unlearned, retrained),
        "relearn_steps": float(unlearned.steps),
        "relearn_seconds": unlearned.seconds,
        "relearn_capped": float(unlearned.capped or retrained.capped),
    }
