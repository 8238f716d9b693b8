"""Generators inverted from the base model (KegNet): a method's members, and those of the synthetic
hold-out, which steers a search without data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from trainables.access import Access
from trainables.artifacts import settings
from trainables.artifacts.kind import Asked, Kind, Parts
from trainables.artifacts.materials import Materials, Origin
from trainables.artifacts.store import Artifact, Built
from trainables.data.dataset import Samples
from trainables.generators import kegnet
from trainables.metrics.accuracy import accuracy
from trainables.metrics.synthetic import SyntheticEvaluator
from trainables.models.copies import state_of
from trainables.scenario import Scenario

MEMBER = "inverted generator "
HOLDOUT = "hold-out generator "
"""What the names of inverted generators begin with, before their number."""

HOLDOUTS = 2

SAMPLES = 1_000
"""Images that each hold-out generator gives, and by which a generator is judged."""


def member(parts: Parts, index: int) -> kegnet.Generator:
    """A method's inverted generator of this number, counted from 0."""
    generator: kegnet.Generator = parts.load(f"{MEMBER}{index}")
    return generator


def synthetic(parts: Parts) -> SyntheticEvaluator:
    """Judges models by images of the hold-out generators, which no method gets to see. Raises
    GeneratorError where these show nothing of use."""
    given = parts.materials
    rng = torch.Generator(given.device).manual_seed(given.scenario.evaluation_seed)
    holdouts = [parts.load(f"{HOLDOUT}{index}") for index in range(HOLDOUTS)]
    images = torch.cat([kegnet.draw(holdout, SAMPLES, rng) for holdout in holdouts])
    return SyntheticEvaluator(parts.load("base"), images, given.scenario.forget)


def seed_of(name: str, scenario: Scenario) -> int:
    """Seed of an inverted generator; those of scenarios, members and hold-outs never meet."""
    held_out = name.startswith(HOLDOUT)
    index = int(name.removeprefix(HOLDOUT if held_out else MEMBER))
    return (scenario.seed * 100_003 + index) * 2 + held_out


def few_samples(given: Materials, count: int) -> Samples:
    """The first `count` training samples of each class, in an order fixed by the seed."""
    train = given.dataset.train
    rng = torch.Generator().manual_seed(given.scenario.seed)
    order = torch.randperm(len(train), generator=rng).to(train.labels.device)
    labels = train.labels[order]
    kept = [order[labels == label][:count] for label in range(given.num_classes)]
    return train.where(torch.cat(kept))


def _settings(name: str, scenario: Scenario, origin: Origin) -> dict[str, Any]:
    """From data a generator follows only with the few-shot aid."""
    inversion = asdict(scenario.inversion)
    aid: dict[str, Any] = {}
    if scenario.inversion.few_shot:
        aid = settings.of_data(scenario, origin)
    else:
        del inversion["few_shot_weight"]
    if scenario.inversion.bn_weight:
        inversion["bn_distance"] = "relative"  # once absolute; without it nothing has changed
    return {
        **aid,
        **inversion,
        "image_shape": list(origin.image_shape),
        "member": seed_of(name, scenario),
    }


def _members_wanted(asked: Asked) -> list[str]:
    count = asked.generators if Access.INVERTED in asked.needs else 0
    return [f"{MEMBER}{index}" for index in range(count)]


def _holdouts_wanted(asked: Asked) -> list[str]:
    count = HOLDOUTS if "synthetic" in asked.expensive else 0
    return [f"{HOLDOUT}{index}" for index in range(count)]


def _aid(given: Materials) -> Samples | None:
    """The only data that an inversion is handed, where the scenario asks for it."""
    count = given.scenario.inversion.few_shot
    return few_samples(given, count) if count else None


def _build(parts: Parts, name: str) -> Built:
    given, base = parts.materials, parts.load("base")
    scenario, classes = given.scenario, given.num_classes
    seed = seed_of(name, scenario)

    def alone() -> nn.Module:
        shape, recipe = given.image_shape, scenario.inversion
        return kegnet.invert(base, shape, classes, recipe, seed, _aid(given))

    generator = parts.trained(name, alone)
    rng = torch.Generator(given.device).manual_seed(seed)
    with torch.inference_mode():
        noise, labels = kegnet.draw_inputs(SAMPLES, classes, rng)
        agreed = accuracy(base(generator(noise, labels)), labels)
    return state_of(generator), {"classified_as_asked": agreed}


def _together(parts: Parts, names: Sequence[str]) -> Sequence[nn.Module]:
    given, scenario = parts.materials, parts.materials.scenario
    what = parts.load("base"), given.image_shape, given.num_classes, scenario.inversion
    seeds = [seed_of(name, scenario) for name in names]
    return kegnet.invert_together(*what, seeds, _aid(given))


def _load(parts: Parts, _: str, artifact: Artifact) -> kegnet.Generator:
    """In evaluation mode, on the device."""
    given = parts.materials
    output = given.scenario.inversion.output
    generator = kegnet.Generator(given.image_shape, given.num_classes, output)
    generator.load_state_dict(artifact.tensors)
    return generator.to(given.device).eval()


def _kind(called: str, wanted: Callable[[Asked], list[str]]) -> Kind:
    return Kind(
        "kegnet",
        1,
        _settings,
        wanted,
        _build,
        _load,
        follows=("base",),
        called=called,
        together=_together,
    )


MEMBERS = _kind(MEMBER, _members_wanted)
HOLD_OUTS = _kind(HOLDOUT, _holdouts_wanted)
