"""Synthetic samples of trained generators: drawn anew, or cut from pools that were drawn once."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.data.classes import labelled
from trainables.data.dataset import Samples
from trainables.errors import GeneratorError
from trainables.generators import dcgan, kegnet

CHUNK = 1_000
"""Most images drawn at once, which bounds memory."""

DRAWS_PER_SAMPLE = 20
"""Most images drawn for each one that is wanted before the generator is given up."""

POOL_CHUNK = 250
"""Samples by which a pool grows. The same ones come whatever sizes were asked for before."""


@torch.inference_mode()
def share_classified_as(
    classifier: nn.Module, generator: nn.Module, label: int, count: int, rng: torch.Generator
) -> float:
    """The share (0 to 1) of `count` fresh samples that `classifier` gives class `label`."""
    return float((classifier(dcgan.draw(generator, count, rng)).argmax(1) == label).double().mean())


class Sampler(ABC):
    """Several sources of samples, known by numbers."""

    @abstractmethod
    def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
        """`count` samples, with images in [-1, 1], of one source.

        Raises GeneratorError where the source does not deliver.
        """

    def draw_each(self, sources: Iterable[int], count: int, rng: torch.Generator) -> Samples:
        """`count` samples of every source, source after source."""
        return _joined([self.draw(source, count, rng) for source in sources])


@dataclass(frozen=True)
class ClassGenerators(Sampler):
    """One generator per class, and the original classifier that judges what they make.

    As in the thesis' scripts, only samples that the original model classifies as their class
    are used. Errors call the classes by their `names`, where those are known.
    """

    generators: Mapping[int, nn.Module]
    classifier: nn.Module
    names: tuple[str, ...] = ()

    def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
        """`count` images of class `source`, in [-1, 1].

        Raises GeneratorError when 20 draws a sample (1,000 at least) do not suffice.
        """
        generator = self.generators[source]
        kept: list[Tensor] = []
        have, drawn, bound = 0, 0, max(CHUNK, DRAWS_PER_SAMPLE * count)
        while have < count:
            size = min(CHUNK, bound - drawn, max(64, int(1.1 * (count - have))))
            if size <= 0:
                raise GeneratorError(
                    f"the GAN of {labelled([source], self.names)} delivered {have} of {count} "
                    f"samples in {drawn} draws; the rest were classified as other classes. Train "
                    "it for longer (scenario.gan_steps) or ask for fewer samples"
                )
            images = dcgan.draw(generator, size, rng)
            with torch.inference_mode():
                images = images[self.classifier(images).argmax(1) == source]
            kept.append(images)
            have, drawn = have + len(images), drawn + size
        images = torch.cat(kept)[:count].clone()
        return Samples(images, torch.full((count,), source, device=images.device))


@dataclass(frozen=True)
class Ensemble(Sampler):
    """Generators inverted from a classifier, which says what their images show."""

    generators: Sequence[kegnet.Generator]
    classifier: nn.Module

    def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
        """`count` images of generator number `source`, of labels drawn uniformly, with the labels
        that the classifier gives them."""
        images = kegnet.draw(self.generators[source], count, rng)
        with torch.inference_mode():
            labels = torch.cat([self.classifier(part).argmax(1) for part in images.split(CHUNK)])
        return Samples(images.clone(), labels.clone())


class Pool(Sampler):
    """Samples of `sampler` that are drawn once, as `seed` says, and cut to the size asked for: who
    asks for fewer is given the first of them."""

    def __init__(self, sampler: Sampler, seed: int, device: torch.device) -> None:
        self._sampler, self._seed, self._device = sampler, seed, device
        self._samples: dict[int, Samples] = {}
        self._seconds: dict[int, float] = defaultdict(float)
        self._owed = 0.0

    def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
        """The first `count` samples of one source; `rng` has no say."""
        spent = self._grow(source, count)
        self._seconds[source] += spent
        held = self._samples[source]
        self._owed += self._seconds[source] * count / len(held) - spent
        return held.where(slice(count))

    def settle(self) -> float:
        """How many more seconds the samples that were given since this was last called would have
        taken if they had been drawn anew; negative where more was drawn than given."""
        owed, self._owed = self._owed, 0.0
        return owed

    def _grow(self, source: int, count: int) -> float:
        """Hold at least `count` samples of the source; the seconds that took."""
        parts = [self._samples[source]] if source in self._samples else []
        have = sum(map(len, parts))
        if have >= count:
            return 0.0
        started = time.perf_counter()
        for chunk in range(have // POOL_CHUNK, -(-count // POOL_CHUNK)):
            # Seeds of sources, chunks and studies must not meet.
            seed = (self._seed * 1_009 + source) * 100_003 + chunk
            rng = torch.Generator(self._device).manual_seed(seed % 2**63)
            parts.append(self._sampler.draw(source, POOL_CHUNK, rng))
        self._samples[source] = _joined(parts)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - started


def _joined(parts: Sequence[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    images, labels = zip(*((part.images, part.labels) for part in parts), strict=True)
    return Samples(torch.cat(images), torch.cat(labels))
