"""Accuracies on a synthetic hold-out: what can be known of a model without any data.

The images come from generators of their own, inverted from the base model like a zero-shot
method's but apart from them, and the base model says what they show (thesis, 6.1).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainables.errors import GeneratorError
from trainables.metrics.accuracy import accuracy
from trainables.metrics.divergence import kl_divergence
from trainables.models.answers import Answers, predict

IDEAL = {"synthetic_forget_accuracy": 0.0, "synthetic_retain_accuracy": 100.0}
"""What a model has that forgot everything it should and nothing else."""


class SyntheticEvaluator:
    """Evaluates models on `images` (n, c, h, w) that `base` labels.

    Raises GeneratorError if none of them shows a forget class, or none another.
    """

    def __init__(self, base: nn.Module, images: Tensor, forget: tuple[int, ...]) -> None:
        self._images = images
        self._expected = predict(base, images)
        self._labels = self._expected.argmax(dim=1)
        self._forgotten = torch.isin(self._labels, torch.tensor(forget, device=images.device))
        shown = {"a forget class": self._forgotten, "another class": ~self._forgotten}
        for what, mask in shown.items():
            if not bool(mask.any()):
                raise GeneratorError(
                    f"none of the {len(images)} images of the synthetic hold-out shows {what}; "
                    "invert for longer (inversion.steps)"
                )

    def __call__(self, answers: Answers) -> dict[str, float]:
        """Of a model that gives these answers: percent of images of the forget classes, and of the
        others, that are still called what the base model calls them; the mean distance of the two
        to the ideal, in points; and KL(base || model) on the others in nats, which still tells
        models apart when both accuracies are at their ideal."""
        logits = answers(self._images)
        found = {}
        for name, mask in (("forget", self._forgotten), ("retain", ~self._forgotten)):
            found[f"synthetic_{name}_accuracy"] = accuracy(logits[mask], self._labels[mask])
        found["synthetic_gap"] = synthetic_gap(found)
        kept = ~self._forgotten
        found["synthetic_retain_kl"] = kl_divergence(self._expected[kept], logits[kept])
        return found


def synthetic_gap(metrics: Mapping[str, float]) -> float:
    """Mean distance to the ideal, in points (0 to 100)."""
    return sum(abs(metrics[name] - ideal) for name, ideal in IDEAL.items()) / len(IDEAL)
