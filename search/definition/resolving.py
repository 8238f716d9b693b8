"""Resolving a specification against data and weights, so that nothing in it is left open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, IntDistribution

from search.definition.checking import check
from search.definition.names import cut
from search.definition.resolved import absolute, checked_validation, class_names, weights_of
from search.definition.space import Override, SearchSpace
from search.definition.spec import InversionSpec, ScenarioSpec, StudySpec
from trainables import methods
from trainables.data import splits
from trainables.data.classes import indices_of, listing, typed
from trainables.data.sources import SOURCES, Raw, read, source
from trainables.errors import InvalidRequest
from trainables.models.weights import Weights
from trainables.scenario import (
    KEGNET_BATCH_SIZE,
    KEGNET_STEPS,
    NO_DATASET,
    Inversion,
    Places,
)

SMALL = 28
"""Pixels of the longer side up to which an inversion needs few steps."""

SHARE_OF_A_CLASS = 20, 200
"""Samples of a generator of all classes that a class comes to at the bounds of a space, at least:
impairing and repairing need some ten of each, however many classes there are."""


def with_words(spec: StudySpec, words: Sequence[str], places: Places) -> StudySpec:
    """The same study, to forget what these words of a command line say: there, and only there, a
    class' name goes before its number. What comes of them is the one or the other for good.

    Reads the dataset, as `resolve` does, and raises InvalidRequest as that does.
    """
    check(spec)
    forget = typed(words, class_names(spec, places))
    return spec.model_copy(update={"scenario": spec.scenario.model_copy(update={"forget": forget})})


def resolve(spec: StudySpec, places: Places) -> StudySpec:
    """The same study with nothing left open: name, class indices, what suits the dataset. Of a
    resolved one it is that very study.

    Reads the dataset (downloading it where that is possible). Raises InvalidRequest for unknown
    names, classes out of range and spaces that are none.
    """
    check(spec)
    given = spec.scenario
    methods.check_log(spec.method, given.weights)
    weights = None if given.weights is None else weights_of(given.weights)
    if given.dataset == NO_DATASET:
        return _resolve_without_data(spec, weights, places)
    if given.image_size is not None:
        raise InvalidRequest("scenario.image_size is only for the dataset 'none'")
    suits = source(given.dataset)
    raw = read(given.dataset, places.data)
    if weights is not None:
        found = (weights.channels, weights.num_classes)
        if found != (raw.image_shape[0], len(raw.classes)):
            raise InvalidRequest(
                f"{weights.path}: a model of {found[1]} classes and {found[0]} channels, but "
                f"{given.dataset} has {len(raw.classes)} and {raw.image_shape[0]}"
            )
    wanted = given.forget
    if wanted is None:
        if suits.forget is None:
            raise InvalidRequest(
                f"say which class of {given.dataset} to forget (--forget or scenario.forget); "
                f"its classes: {listing(raw.classes)}"
            )
        wanted = [suits.forget]
    forget = raw.resolve_classes(wanted)
    width = given.width
    if width is None and weights is not None:
        width = weights.width(given.model)
    elif width is None:
        width = suits.width if given.model == "allcnn" else 1.0
    dataset = given.dataset
    if dataset not in SOURCES:  # a path, which workers must find from any folder
        dataset = str(absolute(dataset))
    scenario = given.model_copy(
        update={
            "dataset": dataset,
            "forget": list(forget),
            "width": width,
            "gan_steps": given.gan_steps or suits.gan_steps,
            "weights": None if weights is None else str(weights.path),
            **_validation(given, raw, suits.validation_fraction),
        }
    )
    checked_validation(scenario, raw)
    from trainables.models import catalogue

    catalogue.check(scenario.model, raw.image_shape, len(raw.classes), width)
    if weights is not None:
        catalogue.check_weights(scenario.model, raw.image_shape, len(raw.classes), width, weights)
    space = _bounded(spec, len(raw.classes), suits.samples_per_class)
    name = spec.name or _default_name(spec.method, scenario)
    inversion = _inversion(spec.inversion, raw.image_shape[1:])
    return spec.model_copy(
        update={"name": name, "scenario": scenario, "space": space, "inversion": inversion}
    )


def _validation(given: ScenarioSpec, raw: Raw, least: float) -> dict[str, Any]:
    """What of the scenario says where validation images come from."""
    taken = given.validation_from
    if taken is None:
        taken = "training" if given.weights is None or given.held_out is not None else "test"
    if given.held_out is not None and taken == "test":
        raise InvalidRequest(
            "validation is half of the test images (scenario.validation_from, --validation-from "
            "test) or what a file says was held out (scenario.held_out, --held-out): give one"
        )
    share = given.validation_fraction
    if share is not None and (given.held_out is not None or taken == "test"):
        what = "half of the test images" if taken == "test" else f"what {given.held_out} lists"
        raise InvalidRequest(
            f"scenario.validation_fraction is a share of the training images, but validation is "
            f"{what}; leave it out, or give --validation-from training without --held-out if the "
            "base model was trained without that share"
        )
    if taken == "training" and given.held_out is None and share is None:
        share = splits.suitable_fraction(raw.y_train, least)
    path = None if given.held_out is None else str(absolute(given.held_out))
    return {"validation_from": taken, "validation_fraction": share, "held_out": path}


def _check_needs(spec: StudySpec) -> None:
    """Raises InvalidRequest for a method that needs data, or needs it with the values given."""
    from trainables.access import ZERO_SHOT

    def lacking(space: Mapping[str, Override]) -> list[str]:
        return sorted(SearchSpace(spec.method, space).needs - ZERO_SHOT)

    if not (needs := lacking(spec.space)):
        return
    blamed = [f"{name} = {value!r}" for name, value in spec.space.items() if lacking({name: value})]
    with_values = "" if lacking({}) else f" with {', '.join(blamed)}"
    raise InvalidRequest(
        f"{spec.method}{with_values} needs {', '.join(needs)}; `forgetune methods` says which need "
        "no data"
    )


def _resolve_without_data(spec: StudySpec, weights: Weights | None, places: Places) -> StudySpec:
    """What is left of `resolve` where the weights of a model are all there is."""
    given = spec.scenario
    names = class_names(spec, places)
    assert weights is not None
    if spec.objective != "synthetic" or spec.mia_tolerance is not None:
        raise InvalidRequest(
            "without a dataset only the objective synthetic can be measured (--objective "
            "synthetic, and no MIA tolerance)"
        )
    if "anamnesis" in spec.metrics or spec.inversion.few_shot:
        raise InvalidRequest(
            "without a dataset there are no samples for the anamnesis index or the few-shot aid"
        )
    _check_needs(spec)
    if given.validation_from is not None or given.held_out is not None:
        raise InvalidRequest(
            "without a dataset there are no validation images (scenario.validation_from, "
            "scenario.held_out)"
        )
    if given.forget is None:
        raise InvalidRequest("say which class to forget, by number (--forget or scenario.forget)")
    try:
        forget = list(indices_of(given.forget, names, str(weights.path)))
    except InvalidRequest as error:
        known = f"0 to {len(names) - 1}"
        raise InvalidRequest(
            f"scenario.forget: {error}; without a dataset classes are numbers, here {known}"
        ) from None
    size = None if given.image_size is None else (given.image_size[0], given.image_size[1])
    size = weights.image_size(size)
    width = given.width or weights.width(given.model)
    from trainables.models import catalogue

    shape = (weights.channels, *size)
    catalogue.check(given.model, shape, weights.num_classes, width)
    catalogue.check_weights(given.model, shape, weights.num_classes, width, weights)
    scenario = given.model_copy(
        update={
            "forget": forget,
            "width": width,
            # Of no meaning here; a scenario has them all the same.
            "validation_fraction": given.validation_fraction or 0.5,
            "gan_steps": given.gan_steps or 1,
            "weights": str(weights.path),
            "image_size": list(size),
        }
    )
    space = _bounded(spec, weights.num_classes)
    name = spec.name or _default_name(spec.method, scenario)
    inversion = _inversion(spec.inversion, size)
    return spec.model_copy(
        update={"name": name, "scenario": scenario, "space": space, "inversion": inversion}
    )


def _inversion(given: InversionSpec, image_size: tuple[int, ...]) -> InversionSpec:
    """The authors' length for images of 32x32; smaller ones are learnt much sooner."""
    small = max(image_size) <= SMALL
    return given.model_copy(
        update={
            "steps": given.steps or (Inversion.steps if small else KEGNET_STEPS),
            "batch_size": given.batch_size
            or (Inversion.batch_size if small else KEGNET_BATCH_SIZE),
        }
    )


def _bounded(
    spec: StudySpec, num_classes: int, most_samples: int | None = None
) -> dict[str, Override]:
    """The overrides, with the samples per class bounded by what suits the dataset, and those of a
    generator of all classes by how many share them, where the user has not said."""
    space = dict(spec.space)
    found = SearchSpace(spec.method, space).distributions
    if most_samples is not None:
        low, high = _bounds(found, "samples_per_class")
        if "samples_per_class" not in space and low < most_samples < high:
            space["samples_per_class"] = f"{low}..{most_samples}"
    low, high = _bounds(found, "samples_per_generator")
    least, most = (share * num_classes for share in SHARE_OF_A_CLASS)
    if "samples_per_generator" not in space and (0 < low < least or 0 < high < most):
        space["samples_per_generator"] = f"{max(low, least)}..{max(high, most)}"
    return space


def _bounds(found: Mapping[str, BaseDistribution], name: str) -> tuple[int, int]:
    """Of a hyperparameter that varies over whole numbers; 0 and 0 of any other."""
    bounds = found.get(name)
    return (bounds.low, bounds.high) if isinstance(bounds, IntDistribution) else (0, 0)


def _default_name(method: str, scenario: ScenarioSpec) -> str:
    origin = scenario.weights if scenario.dataset == NO_DATASET else scenario.dataset
    dataset = re.sub(r"[^A-Za-z0-9-]+", "-", Path(origin or "").stem) or "data"
    forget = "-".join(map(str, scenario.forget or []))
    name = f"{method}-{dataset}-{scenario.model}-forget-{forget}"
    # Others' methods may be called in ways that a folder, and `check_name`, cannot take.
    return cut(re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-"), 100)
