"""GANs trained on the images of a class, or one on those of all classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from trainables.access import Access
from trainables.artifacts import settings
from trainables.artifacts.kind import Asked, Kind, Parts
from trainables.artifacts.materials import Origin
from trainables.artifacts.store import Artifact, Built
from trainables.data.classes import labelled, short
from trainables.errors import GeneratorError
from trainables.generators import cgan, dcgan, wgan_gp
from trainables.generators.sampling import ClassGenerators, share_classified_as
from trainables.metrics.accuracy import accuracy
from trainables.models.answers import predict
from trainables.models.copies import state_of
from trainables.scenario import Scenario

GAN = "gan "
ALL_CLASSES = "all"
"""What the name of a class' GAN begins with, before the class, or before this where one GAN makes
images of all."""

ATTEMPTS = 3
"""Trainings of a class' GAN, each with another seed, before it is called collapsed."""

PASS_SHARE = 0.5
"""A GAN counts as collapsed when its samples are classified as their class less than half as often
as the images that it was trained on."""

CHECK_SAMPLES = 500


def title(name: str, classes: Sequence[str]) -> str:
    """What people are told of an artifact: its name, with that of the class that a GAN is of."""
    label = name.removeprefix(GAN)
    if not name.startswith(GAN) or label == ALL_CLASSES:
        return name
    return GAN + short(int(label), classes)


def sampler(parts: Parts) -> ClassGenerators:
    """One generator per class. Raises GeneratorError if any has collapsed."""
    given = parts.materials
    generators: dict[int, nn.Module] = {}
    for name in _names(given.scenario, given.num_classes):
        generators |= parts.load(name)
    return ClassGenerators(generators, parts.load("base"), given.classes)


def pass_rate(parts: Parts, network: nn.Module, label: int, rng: torch.Generator) -> float:
    """How often the base model classifies samples of a GAN as `label`, over how often it does so
    with training images of the class. Validation images, which steer a search, have no say in what
    a method is given."""
    generator = network.of(label) if isinstance(network, cgan.ConditionalGenerator) else network
    base = parts.load("base")
    share = share_classified_as(base, generator, label, CHECK_SAMPLES, rng)
    real = parts.materials.dataset.train.of((label,))
    known = accuracy(predict(base, real.images), real.labels) / 100
    return share / max(known, 1e-3)


def _names(scenario: Scenario, num_classes: int) -> list[str]:
    if scenario.gan == "cgan":
        return [f"{GAN}{ALL_CLASSES}"]
    return [f"{GAN}{label}" for label in range(num_classes)]


def _wanted(asked: Asked) -> list[str]:
    return _names(asked.scenario, asked.num_classes) if Access.GANS in asked.needs else []


def _classes(name: str, num_classes: int) -> tuple[int, ...]:
    """The classes whose images the GAN of this name makes."""
    label = name.removeprefix(GAN)
    return tuple(range(num_classes)) if label == ALL_CLASSES else (int(label),)


def _settings(name: str, scenario: Scenario, origin: Origin) -> dict[str, Any]:
    return {
        **settings.of_data(scenario, origin),
        "class": name.removeprefix(GAN),
        "steps": scenario.gan_steps,
        "width": scenario.gan_width,
    }


def _seed(scenario: Scenario, labels: tuple[int, ...], attempt: int) -> int:
    """Seeds of classes and attempts never meet."""
    return (scenario.seed * 100_003 + labels[0]) * ATTEMPTS + attempt


Training = Callable[[Parts, tuple[int, ...], int], nn.Module]
"""One attempt, by its number, at a GAN of some classes."""


def _class_gan(
    module: ModuleType, parts: Parts, labels: tuple[int, ...], attempt: int
) -> nn.Module:
    scenario, samples = parts.materials.scenario, parts.materials.dataset.train.of(labels)
    seed = _seed(scenario, labels, attempt)
    network: nn.Module = module.train(samples, scenario.gan_steps, seed, scenario.gan_width)
    return network


def _conditional_gan(parts: Parts, labels: tuple[int, ...], attempt: int) -> nn.Module:
    given = parts.materials
    scenario, samples = given.scenario, given.dataset.train.of(labels)
    how = scenario.gan_steps, _seed(scenario, labels, attempt), scenario.gan_width
    return cgan.train(samples, given.num_classes, *how)


def _together(parts: Parts, names: Sequence[str]) -> Sequence[nn.Module]:
    """First attempts at all of these: which are to be trained again shows only after them."""
    given = parts.materials
    scenario = given.scenario
    labels = [_classes(name, given.num_classes) for name in names]
    samples = [given.dataset.train.of(each) for each in labels]
    seeds = [_seed(scenario, each, 0) for each in labels]
    return dcgan.train_together(samples, scenario.gan_steps, seeds, scenario.gan_width)


def _build(train: Training, parts: Parts, name: str) -> Built:
    """The first of a few trainings of this GAN that does not collapse; the best one if all do.
    A GAN is as good as the pass rate of its worst class."""
    given = parts.materials
    labels = _classes(name, given.num_classes)
    best: tuple[float, Mapping[str, Tensor]] = (-1.0, {})
    rates = []
    for attempt in range(ATTEMPTS):
        once = partial(train, parts, labels, attempt)
        network = once() if attempt else parts.trained(name, once)
        rng = torch.Generator(given.device).manual_seed(_seed(given.scenario, labels, attempt))
        rates.append(min(pass_rate(parts, network, label, rng) for label in labels))
        if rates[-1] > best[0]:
            best = (rates[-1], state_of(network))
        if rates[-1] >= PASS_SHARE:
            break
    return best[1], {"collapsed": best[0] < PASS_SHARE, "shares": rates}


def _load_class_gan(parts: Parts, name: str, artifact: Artifact) -> dict[int, nn.Module]:
    """The generator of its class, on the device. Raises GeneratorError if the GAN has collapsed."""
    given = parts.materials
    (label,) = _classes(name, given.num_classes)
    network = dcgan.Generator(given.image_shape, given.scenario.gan_width)
    _fill(network, parts, name, artifact)
    return {label: network}


def _load_conditional_gan(parts: Parts, name: str, artifact: Artifact) -> dict[int, nn.Module]:
    """Likewise, of all classes."""
    given = parts.materials
    shape, classes = given.image_shape, given.num_classes
    network = cgan.ConditionalGenerator(shape, classes, given.scenario.gan_width)
    _fill(network, parts, name, artifact)
    return {label: network.of(label) for label in _classes(name, classes)}


def _fill(network: nn.Module, parts: Parts, name: str, artifact: Artifact) -> None:
    """Give a generator its weights and bring it to the device."""
    _check_not_collapsed(name, artifact.facts, parts.materials.classes)
    network.load_state_dict(artifact.tensors)
    network.to(parts.materials.device).to(memory_format=torch.channels_last).eval()


def _check_not_collapsed(name: str, facts: Mapping[str, Any], classes: Sequence[str]) -> None:
    if facts["collapsed"]:
        label = name.removeprefix(GAN)
        whose = "all classes" if label == ALL_CLASSES else labelled([int(label)], classes)
        shares = ", ".join(f"{share:.0%}" for share in facts["shares"])
        raise GeneratorError(
            f"the GAN of {whose} collapsed in each of "
            f"{len(facts['shares'])} trainings ({shares} of its samples are classified as their "
            f"class, over the share of real ones; {PASS_SHARE:.0%} is needed); train for "
            "longer or shorter (scenario.gan_steps), or choose another seed or --gan"
        )


def _kind(
    name: str,
    recipe: int,
    train: Training,
    load: Callable[[Parts, str, Artifact], dict[int, nn.Module]] = _load_class_gan,
    together: Callable[[Parts, Sequence[str]], Sequence[nn.Module]] | None = None,
) -> Kind:
    def serves(scenario: Scenario) -> bool:
        return scenario.gan == name

    return Kind(
        name,
        recipe,
        _settings,
        _wanted,
        partial(_build, train),
        load,
        follows=("base",),
        called=GAN,
        serves=serves,
        together=together,
    )


DCGAN = _kind("dcgan", 4, partial(_class_gan, dcgan), together=_together)
WGAN_GP = _kind("wgan-gp", 2, partial(_class_gan, wgan_gp))
CGAN = _kind("cgan", 2, _conditional_gan, _load_conditional_gan)
