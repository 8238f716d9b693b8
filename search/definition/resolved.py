"""What a resolved specification says of data and weights: to trials, to study.json, to people."""

from __future__ import annotations

import os
from pathlib import Path

from search.definition.spec import ScenarioSpec, StudySpec
from trainables.data import splits
from trainables.data.classes import labelled, numbered
from trainables.data.sources import Raw, read
from trainables.errors import InvalidRequest
from trainables.models.weights import Weights, inspect
from trainables.scenario import NO_DATASET, Inversion, Places, Scenario


def scenario_of(spec: StudySpec) -> Scenario:
    """The scenario of a resolved specification."""
    values = spec.scenario.model_dump(exclude={"image_size"})
    if values["validation_fraction"] is None:  # nothing is carved from the training images
        del values["validation_fraction"]
    if spec.scenario.weights is None and values["validation_from"] == "training":
        values["validation_from"] = None  # as a scenario has it that says nothing of it
    if spec.scenario.dataset == NO_DATASET:
        assert spec.scenario.weights is not None
        assert spec.scenario.image_size is not None
        weights = weights_of(spec.scenario.weights)
        values["image_shape"] = (weights.channels, *spec.scenario.image_size)
        values["num_classes"] = weights.num_classes
    inversion = Inversion(**spec.inversion.model_dump())
    return Scenario(**{**values, "forget": tuple(values["forget"]), "inversion": inversion})


def class_names(spec: StudySpec, places: Places) -> tuple[str, ...]:
    """Names of the classes, by index; numbers where the weights of a model are all there is.

    Reads the dataset, as `resolve` does. Raises InvalidRequest if neither is there.
    """
    given = spec.scenario
    if given.dataset != NO_DATASET:
        return read(given.dataset, places.data).classes
    if given.weights is None:
        raise InvalidRequest(
            "without a dataset the base model cannot be trained: give its weights (--weights "
            "FILE.safetensors)"
        )
    return numbered(weights_of(given.weights).num_classes)


def forgotten(spec: StudySpec, places: Places) -> str:
    """What a resolved specification forgets, for people: `class 1 ('cat')`."""
    labels = [label for label in spec.scenario.forget or [] if isinstance(label, int)]
    return labelled(labels, class_names(spec, places))


def fingerprint(spec: StudySpec, places: Places) -> str:
    """What a resolved specification's study is about, beside the specification: the content of its
    dataset, of its base model's weights and of the list of what was held out, where it names them.
    """
    scenario = spec.scenario
    parts = []
    if scenario.dataset != NO_DATASET:
        raw = read(scenario.dataset, places.data)
        parts.append(raw.fingerprint)
        if scenario.held_out is not None:
            parts.append(splits.read_held_out(Path(scenario.held_out), raw).fingerprint)
    if scenario.weights is not None:
        parts.append(weights_of(scenario.weights).fingerprint)
    return "+".join(parts)


def notes(spec: StudySpec, places: Places) -> tuple[str, ...]:
    """What people should know of the dataset of a resolved specification before it runs, such as
    files in it that are no images, and classes with few images to validate on."""
    if spec.scenario.dataset == NO_DATASET:
        return ()
    raw = read(spec.scenario.dataset, places.data)
    return (*raw.notes, *checked_validation(spec.scenario, raw))


def checked_validation(scenario: ScenarioSpec, raw: Raw) -> list[str]:
    """Lines on classes to be forgotten that have few validation images. Raises DataError where
    there are too few to measure by, or the list of what was held out cannot be used."""
    assert scenario.forget is not None
    held_out = None
    if scenario.held_out is not None:
        held_out = splits.read_held_out(Path(scenario.held_out), raw)
    how = scenario.validation_fraction or 0.0, scenario.validation_from or "training", held_out
    return splits.check(raw, *how, [int(label) for label in scenario.forget])


def weights_of(text: str) -> Weights:
    return inspect(absolute(text))


def absolute(text: str) -> Path:
    """The path of a file or folder that a user named, from any folder and in any process."""
    path = Path(os.path.expanduser(text)).absolute()
    try:
        found = path.resolve()
    except (OSError, RuntimeError):  # links in a circle; who reads it says so
        return path
    # A link may lead to a file that is called otherwise; what a file is, its suffix says.
    return found if found.suffix == path.suffix else path.parent.resolve() / path.name
