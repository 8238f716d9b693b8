"""All metrics of one model on one scenario."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainables.attacks.membership import membership
from trainables.attacks.probe import Probe, fit_probe
from trainables.data.dataset import Dataset, Samples
from trainables.metrics.accuracy import accuracy, class_accuracy
from trainables.metrics.entropy import entropy
from trainables.models.answers import Answers, answers_of


class Measured(NamedTuple):
    """What a model comes to: metrics, and its accuracy in percent on each class, by split
    ("class_accuracy" on validation, "test_class_accuracy" on test images)."""

    metrics: dict[str, float]
    by_class: dict[str, list[float | None]]


class Evaluator:
    """Evaluates models on one dataset and one set of forget classes.

    `held_out` are the validation ("") and the test ("test_") images, `targets` the training samples
    of the forget classes. `seed` fixes the attack's draws: which members it sees and its
    bootstraps. The same model always gets the same figures.
    """

    def __init__(self, dataset: Dataset, forget: tuple[int, ...], seed: int) -> None:
        self.held_out = {"": dataset.validation, "test_": dataset.test}
        self.targets = dataset.train.of(forget)
        self.forget = forget
        self._forget = torch.tensor(forget, device=dataset.test.labels.device)
        self._seed = seed
        retain = dataset.train.without(forget)
        # The attack balances its classes, so more members than non-members would not be seen: of
        # these each split's attack takes as many as it has samples.
        most = max(len(samples) for samples in self.held_out.values())
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(retain), generator=rng)[:most]
        chosen = chosen.to(retain.labels.device)
        members, self._labels = retain.images[chosen], retain.labels[chosen]
        self._members = {name: members[: len(part)] for name, part in self.held_out.items()}

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Accuracies and MIA in percent, on validation and (prefixed `test_`) on test images."""
        return self.measure(answers_of(model)).metrics

    def measure(self, answers: Answers) -> Measured:
        """The same of a model that gives these answers, and accuracies class by class."""
        return self._measure(answers, self.held_out)

    def on_validation(self, answers: Answers) -> dict[str, float]:
        """The same on validation images alone: what steers a search."""
        return self._measure(answers, [""]).metrics

    def forgotten(self, samples: Samples) -> Tensor:
        """Which of the samples (n,) are of the forget classes."""
        return torch.isin(samples.labels, self._forget)

    def _fit_probe(self, answers: Answers, members: Tensor) -> Probe | None:
        """On as many images of D_r, the first of `members` (n, c, h, w), as there are to validate:
        test images have no say."""
        forgotten = answers.features(self.targets.images)
        others = answers.features(members)
        if forgotten is None or others is None:
            return None
        return fit_probe(forgotten, others[: len(self._members[""])])

    def _measure(self, answers: Answers, splits: Iterable[str]) -> Measured:
        most = max((self._members[prefix] for prefix in splits), key=len)
        members = entropy(answers(most)).cpu()
        targets = entropy(answers(self.targets.images)).cpu()
        metrics: dict[str, float] = {
            "train_forget_accuracy": accuracy(answers(self.targets.images), self.targets.labels),
            "train_retain_accuracy": accuracy(answers(most), self._labels[: len(most)]),
        }
        by_class: dict[str, list[float | None]] = {}
        probe = self._fit_probe(answers, most)
        for prefix in splits:
            samples = self.held_out[prefix]
            logits = answers(samples.images)
            by_class[prefix + "class_accuracy"] = class_accuracy(logits, samples.labels)
            forgotten = self.forgotten(samples)
            for name, mask in (("forget_accuracy", forgotten), ("retain_accuracy", ~forgotten)):
                metrics[prefix + name] = accuracy(logits[mask], samples.labels[mask])
            metrics[prefix + "accuracy"] = accuracy(logits, samples.labels)
            features = answers.features(samples.images)
            if probe is not None and features is not None:
                metrics[prefix + "probe"] = probe(features, forgotten)
            metrics[prefix + "mia"] = membership(
                members[: len(samples)].numpy(),
                entropy(logits).cpu().numpy(),
                targets.numpy(),
                self._seed,
            )
        return Measured(metrics, by_class)
