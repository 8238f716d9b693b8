"""DELETE without data: its target, on images of generators that were inverted from the model.

DELETE (Zhou et al. 2025, "Decoupled Distillation to Erase", arXiv 2503.23751) teaches the model
what the original answers to forget images once the forgotten class is taken out and the rest
renormalised. Here the images are synthetic, and all of them are taught: those of the other classes
hold the model where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.models.answers import predict
from trainables.training.bounds import check_at_least, check_one_of, check_positive
from trainables.training.learning import BatchNorm, Layers, check_learning, parameters_of
from trainables.training.passes import PHASE_ENDS, Pass, Plan, run
from trainables.training.supervised import adam

Source = Literal["inverted", "gans"]
"""Generators that follow from the model alone, or GANs that saw the training data."""


def without_classes(logits: Tensor, forget_classes: Sequence[int]) -> Tensor:
    """What logits (n, classes) say once these classes are out: q_k = p_k / (1 - sum of p_forgotten)
    for the others, and 0 for them (n, classes)."""
    wanted = logits.clone()
    wanted[:, list(forget_classes)] = -torch.inf
    return functional.softmax(wanted, dim=1)


def towards(outputs: Tensor, wanted: Tensor) -> Tensor:
    """KL(wanted || softmax(outputs)) in nats, mean over the batch; probabilities and logits
    (n, classes)."""
    answered = functional.log_softmax(outputs, dim=1)
    return (torch.xlogy(wanted, wanted) - wanted * answered).sum(dim=1).mean()


@dataclass(frozen=True)
class ZDelete:
    """DELETE's target on the images of every class: `epochs` by the last layers before the head,
    then `head_epochs` by the head.

    At first the head stays, so the features themselves must leave the forgotten class: a head that
    learns switches its output off, and the class can be told from the features as before. Then it
    ends what they left. Images of generators are unlike real ones: batch norms that follow them
    lose what real ones look like, and so do early layers that learn from them. Reports what the
    original calls the images, by class. Yields after each epoch.
    """

    learning_rate: float = 3e-3
    epochs: int = 5
    generators: int = 3
    samples_per_generator: int = 1000
    batch_size: int = 64
    head_epochs: int = 3
    layers: Layers = 2
    batch_norm: BatchNorm = "frozen"
    source: Source = "inverted"

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        check_at_least(1, epochs=self.epochs, generators=self.generators)
        check_at_least(0, head_epochs=self.head_epochs)
        check_at_least(
            2, samples_per_generator=self.samples_per_generator, batch_size=self.batch_size
        )
        check_one_of(get_args(Source), source=self.source)
        check_learning(self.batch_norm, self.layers)

    @property
    def needs(self) -> frozenset[Access]:
        return frozenset({Access.INVERTED if self.source == "inverted" else Access.GANS})

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield from run(self.plan(model, access, rng), model, rng)

    def plan(self, model: nn.Module, access: Granted, rng: torch.Generator) -> Plan:
        """An epoch is a pass over all images."""
        images = self.images(access, rng)
        taught = predict(model, images)
        counts = torch.bincount(taught.argmax(dim=1), minlength=access.num_classes)
        access.report(samples_by_class=counts.tolist())
        wanted = without_classes(taught, access.forget_classes).clone()
        features = parameters_of(model, self.layers, before_head=True)
        head = parameters_of(model, layers=1)
        for learning, epochs in ((features, self.epochs), (head, self.head_epochs)):
            optimizer = adam(learning, self.learning_rate)
            for _ in range(epochs):
                others = (wanted,)
                yield Pass(
                    images, others, self.batch_size, towards, optimizer, batch_norm=self.batch_norm
                )
                yield PHASE_ENDS

    def images(self, access: Granted, rng: torch.Generator) -> Tensor:
        """As many of each generator, inverted, or of each class' GAN (n, c, h, w)."""
        if self.source == "inverted":
            sampler, sources = access.inverted, range(self.generators)
        else:
            sampler, sources = access.gans, range(access.num_classes)
        return sampler.draw_each(sources, self.samples_per_generator, rng).images
