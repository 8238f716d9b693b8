"""Drawing synthetic samples of a class, filtered by the classifier, in bounded draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.data import Samples
from trainables.errors import GeneratorError
from trainables.generators import dcgan

CHUNK = 1_000
"""Most images drawn at once, which bounds memory."""

DRAWS_PER_SAMPLE = 20
"""Most images drawn for each one that is wanted before the generator is given up."""


@torch.inference_mode()
def share_classified_as(
    classifier: nn.Module, generator: nn.Module, label: int, count: int, rng: torch.Generator
) -> float:
    """The share (0 to 1) of `count` fresh samples that `classifier` gives class `label`."""
    return float((classifier(dcgan.draw(generator, count, rng)).argmax(1) == label).double().mean())


@dataclass(frozen=True)
class ClassGenerators:
    """One generator per class, and the original classifier that judges what they make.

    As in the thesis' scripts, only samples that the original model classifies as their class
    are used.
    """

    generators: Mapping[int, nn.Module]
    classifier: nn.Module

    def draw(self, label: int, count: int, rng: torch.Generator) -> Samples:
        """`count` images of class `label`, in [-1, 1].

        Raises GeneratorError when 20 draws a sample (1,000 at least) do not suffice.
        """
        generator = self.generators[label]
        kept: list[Tensor] = []
        have, drawn, bound = 0, 0, max(CHUNK, DRAWS_PER_SAMPLE * count)
        while have < count:
            size = min(CHUNK, bound - drawn, max(64, int(1.1 * (count - have))))
            if size <= 0:
                raise GeneratorError(
                    f"the GAN of class {label} delivered {have} of {count} samples in {drawn} "
                    "draws; the rest were classified as other classes. Train it for longer "
                    "(scenario.gan_steps) or ask for fewer samples"
                )
            images = dcgan.draw(generator, size, rng)
            with torch.inference_mode():
                images = images[self.classifier(images).argmax(1) == label]
            kept.append(images)
            have, drawn = have + len(images), drawn + size
        images = torch.cat(kept)[:count].clone()
        return Samples(images, torch.full((count,), label, device=images.device))

    def draw_each(self, labels: tuple[int, ...], count: int, rng: torch.Generator) -> Samples:
        """`count` images of every class in `labels`, class after class."""
        parts = [self.draw(label, count, rng) for label in labels]
        return Samples(
            torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
        )
