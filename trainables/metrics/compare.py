"""How a model compares with the retrained one, and with a network that never learned."""

from __future__ import annotations

import torch
from torch import nn

from trainables.data import Dataset
from trainables.metrics.divergence import js_divergence, kl_divergence
from trainables.metrics.entropy import entropy
from trainables.metrics.evaluate import predict
from trainables.metrics.weight_distance import weight_distance
from trainables.metrics.zrf import zrf


class Comparison:
    """Compares models of one architecture, on one dataset and one set of forget classes.

    Divergences are taken on validation images; entropy and ZRF, which need no labels, on D_f.
    """

    def __init__(
        self,
        dataset: Dataset,
        forget: tuple[int, ...],
        retrained: nn.Module,
        untrained: nn.Module,
    ) -> None:
        self._retrained = retrained
        self._forget = dataset.train.of(forget)
        self._untrained = predict(untrained, self._forget.images)
        parts = {"forget": dataset.validation.of(forget)}
        parts["retain"] = dataset.validation.without(forget)
        self._held_out = {
            name: (part.images, predict(retrained, part.images)) for name, part in parts.items()
        }

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Divergences to the retrained model (nats), entropy on D_f (nats), ZRF, L2 distances of
        the weights. The retrained model itself diverges by 0 and lies at distance 0."""
        metrics: dict[str, float] = {}
        for name, (images, expected) in self._held_out.items():
            logits = predict(model, images)
            metrics[f"kl_{name}"] = kl_divergence(expected, logits)
            metrics[f"js_{name}"] = js_divergence(expected, logits)
        on_forget = predict(model, self._forget.images)
        metrics["forget_entropy"] = float(torch.mean(entropy(on_forget)))
        metrics["zrf"] = zrf(on_forget, self._untrained)
        distance, relative = weight_distance(model, self._retrained)
        metrics["weight_distance"], metrics["relative_weight_distance"] = distance, relative
        return metrics
