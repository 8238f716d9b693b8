"""What the artifacts of a scenario are called, and all that determines their content. No training.

An artifact's name is for people and schedulers ("base", "gan 3"); its key in the store follows
from its description alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trainables.artifacts.store import key_of
from trainables.data.sources import SPLIT_SEED
from trainables.errors import InvalidRequest
from trainables.scenario import Scenario

RECIPES = {
    **{"base": 1, "retrained": 1, "log": 2, "reference": 5, "relearning": 2},
    **{"dcgan": 4, "wgan-gp": 2, "cgan": 2, "kegnet": 1},
}
"""Raised by one when the code that builds a kind of artifact changes what it builds."""

LOG = "log"

GAN = "gan "
ALL_CLASSES = "all"
"""What the name of a class' GAN begins with, before the class, or before this where one GAN makes
images of all."""

INVERTED = "inverted generator "
HOLDOUT = "hold-out generator "
"""Likewise of generators inverted from the base model: a method's, and those of the synthetic
hold-out, which steers a search without data."""

HOLDOUTS = 2

Description = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What a scenario's artifacts are made from: fingerprints of its dataset and of the base
    model's weights, where it has them, (channels, height, width) of its images, and a fingerprint
    of what the user says was held out from training."""

    dataset: str | None
    weights: str | None
    image_shape: tuple[int, int, int]
    held_out: str | None = None


def describe(name: str, scenario: Scenario, origin: Origin) -> tuple[str, Description]:
    """Kind and description of the artifact of this name.

    Raises InvalidRequest for the training log of a base model that was trained elsewhere.
    """
    if name == LOG and origin.weights is not None:
        raise InvalidRequest(
            "there is no training log of a base model that comes from a file (weights); possible "
            "are the methods that need none (`forgetune methods`)"
        )
    if name.startswith(GAN):
        kind, described = scenario.gan, _gan(name, scenario, origin)
    elif name.startswith((INVERTED, HOLDOUT)):
        kind, described = "kegnet", _inverted(name, scenario, origin)
    elif name == "base" and origin.weights is not None:
        kind, described = name, {**_model(scenario), "weights": origin.weights}
    elif name == "base":
        kind, described = name, {**_data(scenario, origin), **_training(scenario)}
    elif name in ("retrained", LOG):
        described = {**_data(scenario, origin), **_training(scenario), **_forget(scenario)}
        kind = name
    else:
        kind, described = name, _measured(name, scenario, origin)
    return kind, {**described, "recipe": RECIPES[kind]}


def classes_of(gan: str, num_classes: int) -> tuple[int, ...]:
    """The classes whose images the GAN of this name makes."""
    label = gan.removeprefix(GAN)
    return tuple(range(num_classes)) if label == ALL_CLASSES else (int(label),)


def gans(scenario: Scenario, num_classes: int) -> list[str]:
    """Names of the GANs that make images of all classes."""
    if scenario.gan == "cgan":
        return [f"{GAN}{ALL_CLASSES}"]
    return [f"{GAN}{label}" for label in range(num_classes)]


def inverted(count: int) -> list[str]:
    """Names of a method's inverted generators."""
    return [f"{INVERTED}{index}" for index in range(count)]


def holdouts() -> list[str]:
    """Names of the generators of the synthetic hold-out."""
    return [f"{HOLDOUT}{index}" for index in range(HOLDOUTS)]


def inversion_seed(name: str, scenario: Scenario) -> int:
    """Seed of an inverted generator; those of scenarios, members and hold-outs never meet."""
    held_out = name.startswith(HOLDOUT)
    index = int(name.removeprefix(HOLDOUT if held_out else INVERTED))
    return (scenario.seed * 100_003 + index) * 2 + held_out


def _data(scenario: Scenario, origin: Origin) -> Description:
    split: Description = {"validation_fraction": scenario.validation_fraction}
    if origin.held_out is not None:
        split = {"held_out": origin.held_out}
    elif scenario.validation_source == "test":
        split = {"validation_from": "test"}
    return {
        "dataset": origin.dataset,
        **split,
        "split_seed": SPLIT_SEED,
        "seed": scenario.seed,
    }


def _model(scenario: Scenario) -> Description:
    return {"model": scenario.model, "width": scenario.width}


def _training(scenario: Scenario) -> Description:
    return {
        **_model(scenario),
        "epochs": scenario.epochs,
        "learning_rate": scenario.learning_rate,
        "batch_size": scenario.batch_size,
    }


def _forget(scenario: Scenario) -> Description:
    return {"forget": list(scenario.forget)}


def _key(name: str, scenario: Scenario, origin: Origin) -> str:
    return key_of(describe(name, scenario, origin)[1])


def _gan(name: str, scenario: Scenario, origin: Origin) -> Description:
    return {
        **_data(scenario, origin),
        "base": _key("base", scenario, origin),
        "class": name.removeprefix(GAN),
        "steps": scenario.gan_steps,
        "width": scenario.gan_width,
    }


def _inverted(name: str, scenario: Scenario, origin: Origin) -> Description:
    """Follows from the base model; from data only with the few-shot aid."""
    inversion = asdict(scenario.inversion)
    aid: Description = {}
    if scenario.inversion.few_shot:
        aid = _data(scenario, origin)
    else:
        del inversion["few_shot_weight"]
    if scenario.inversion.bn_weight:
        inversion["bn_distance"] = "relative"  # once absolute; without it nothing has changed
    return {
        **aid,
        **inversion,
        "base": _key("base", scenario, origin),
        "image_shape": list(origin.image_shape),
        "member": inversion_seed(name, scenario),
    }


def _measured(name: str, scenario: Scenario, origin: Origin) -> Description:
    """What was measured of the base and the retrained model."""
    described: Description = {
        **{part: _key(part, scenario, origin) for part in ("base", "retrained")},
        **_forget(scenario),
        "evaluation_seed": scenario.evaluation_seed,
    }
    if name == "relearning":
        described |= {
            "alpha": scenario.anamnesis_alpha,
            "batch_size": scenario.anamnesis_batch_size,
            "most_epochs": scenario.anamnesis_epochs,
        }
    return described
