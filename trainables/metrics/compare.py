"""How a model compares with the retrained one, and with a network that never learned."""

from __future__ import annotations

import torch
from torch import nn

from trainables.metrics.divergence import js_divergence, kl_divergence
from trainables.metrics.entropy import entropy
from trainables.metrics.evaluate import Evaluator
from trainables.metrics.neighbours import neighbour_gap
from trainables.metrics.weight_distance import weight_distance
from trainables.metrics.zrf import zrf
from trainables.models.answers import Answers, predict


class Comparison:
    """Compares models of one architecture, on what `evaluator` evaluates them on.

    Divergences are taken on validation images; entropy and ZRF, which need no labels, on D_f.
    """

    def __init__(self, evaluator: Evaluator, retrained: nn.Module, untrained: nn.Module) -> None:
        self._retrained = retrained
        self._targets = evaluator.targets.images
        self._untrained = predict(untrained, self._targets)
        validation = evaluator.held_out[""]
        forgotten = evaluator.forgotten(validation)
        self._validation = validation.images
        self._forget = evaluator.forget
        self._expected = predict(retrained, validation.images)
        self._parts = {"forget": forgotten, "retain": ~forgotten}

    def __call__(self, model: nn.Module, answers: Answers) -> dict[str, float]:
        """Divergences to the retrained model (nats), the gap on neighbouring classes, entropy on
        D_f (nats), ZRF, L2 distances of the weights, of a model that gives these answers. The
        retrained model itself diverges by 0 and lies at distance 0."""
        metrics: dict[str, float] = {}
        logits = answers(self._validation)
        for name, part in self._parts.items():
            metrics[f"kl_{name}"] = kl_divergence(self._expected[part], logits[part])
            metrics[f"js_{name}"] = js_divergence(self._expected[part], logits[part])
        forgotten = self._parts["forget"]
        metrics["neighbour_gap"] = neighbour_gap(
            self._expected[forgotten], logits[forgotten], self._forget
        )
        on_forget = answers(self._targets)
        metrics["forget_entropy"] = float(torch.mean(entropy(on_forget)))
        metrics["zrf"] = zrf(on_forget, self._untrained)
        distance, relative = weight_distance(model, self._retrained)
        metrics["weight_distance"], metrics["relative_weight_distance"] = distance, relative
        return metrics
