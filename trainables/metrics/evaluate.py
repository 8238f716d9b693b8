"""All metrics of one model on one scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainables.data import Dataset, Samples
from trainables.errors import Diverged
from trainables.metrics.accuracy import accuracy, class_accuracy
from trainables.metrics.entropy import entropy
from trainables.metrics.membership import membership

BATCH = 1_024


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (n, classes) in evaluation mode; each layer's mode is left as it was.

    Raises Diverged for logits that are not finite, which finite weights can give.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    logits = torch.cat([model(part) for part in images.split(BATCH)])
    for module, was_training in modes:
        module.training = was_training
    if not bool(logits.isfinite().all()):
        raise Diverged("the outputs became non-finite")
    return logits


class Measured(NamedTuple):
    """What a model comes to: metrics, and its accuracy in percent on each class, by split
    ("class_accuracy" on validation, "test_class_accuracy" on test images)."""

    metrics: dict[str, float]
    by_class: dict[str, list[float | None]]


class Evaluator:
    """Evaluates models on one dataset and one set of forget classes.

    `seed` fixes the attack's draws: which members it sees and its bootstraps. The same model
    always gets the same figures.
    """

    def __init__(self, dataset: Dataset, forget: tuple[int, ...], seed: int) -> None:
        self._held_out = {"": dataset.validation, "test_": dataset.test}
        self._forget = torch.tensor(forget, device=dataset.test.labels.device)
        self._seed = seed
        self._targets = dataset.train.of(forget)
        retain = dataset.train.without(forget)
        # The attack balances its classes, so more members than non-members would not be seen: of
        # these each split's attack takes as many as it has samples.
        most = max(len(samples) for samples in self._held_out.values())
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(retain), generator=rng)[:most]
        self._members = retain.where(chosen.to(retain.labels.device))

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Accuracies and MIA in percent, on validation and (prefixed `test_`) on test images."""
        return self.measure(model).metrics

    def measure(self, model: nn.Module) -> Measured:
        """The same, and accuracies class by class."""
        return self._measure(model, self._held_out)

    def on_validation(self, model: nn.Module) -> dict[str, float]:
        """The same on validation images alone: what steers a search."""
        return self._measure(model, {"": self._held_out[""]}).metrics

    def _measure(self, model: nn.Module, held_out: Mapping[str, Samples]) -> Measured:
        most = max(len(samples) for samples in held_out.values())
        members = self._entropy(model, self._members.images[:most])
        targets = self._entropy(model, self._targets.images)
        metrics: dict[str, float] = {}
        by_class: dict[str, list[float | None]] = {}
        for prefix, samples in held_out.items():
            logits = predict(model, samples.images)
            by_class[prefix + "class_accuracy"] = class_accuracy(logits, samples.labels)
            forgotten = torch.isin(samples.labels, self._forget)
            for name, mask in (("forget_accuracy", forgotten), ("retain_accuracy", ~forgotten)):
                metrics[prefix + name] = accuracy(logits[mask], samples.labels[mask])
            metrics[prefix + "mia"] = membership(
                members[: len(samples)].numpy(),
                entropy(logits).cpu().numpy(),
                targets.numpy(),
                self._seed,
            )
        return Measured(metrics, by_class)

    @staticmethod
    def _entropy(model: nn.Module, images: Tensor) -> Tensor:
        return entropy(predict(model, images)).cpu()
