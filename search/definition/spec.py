"""A study's specification, validated, from a TOML file and command-line flags."""

from __future__ import annotations

import codecs
import contextlib
import operator
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, get_args

from optuna.distributions import BaseDistribution, IntDistribution
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from search.definition import pruners, samplers
from search.definition.earlier import stored
from search.definition.names import cut
from search.definition.space import Override, SearchSpace
from trainables import methods
from trainables.data import splits
from trainables.data.classes import indices_of, labelled, listing, numbered, typed
from trainables.data.sources import SOURCES, Raw, read, source
from trainables.errors import InvalidRequest, shortened, unknown
from trainables.methods import LARGEST
from trainables.metrics.gap import PROBED, TERMS
from trainables.models.weights import Weights, inspect
from trainables.scenario import (
    KEGNET_BATCH_SIZE,
    KEGNET_STEPS,
    MOST_SEED,
    NO_DATASET,
    THESIS_BATCH_SIZE,
    THESIS_EPOCHS,
    THESIS_LEARNING_RATE,
    Inversion,
    Places,
    Scenario,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

EXECUTION = (
    *("trials", "sampler", "pruner", "metrics", "curves"),
    *("retries", "give_up_after", "trial_timeout", "time_budget", "concurrency", "resources"),
)
"""What may change when a study is continued; all else says what the study *is*."""

AUTO = "auto"
"""As many trials share a place as suit the machine."""


SHARE_OF_A_CLASS = 20, 200
"""Samples of a generator of all classes that a class comes to at the bounds of a space, at least:
impairing and repairing need some ten of each, however many classes there are."""

MOST_TOGETHER = 1_024
"""Trials that can share a place, and CPUs that a trial can hold."""

MOST_OF_A_PATH = 4_096
"""Bytes of a path that systems take (PATH_MAX)."""


def _check_fuse(value: Any) -> Any:
    if value != AUTO and (type(value) is not int or not 1 <= value <= MOST_TOGETHER):
        most = f"(at most {MOST_TOGETHER})"
        raise ValueError(f"it should be a whole number from 1 on, or {AUTO} {most}")
    return value


def _check_gpus(value: float) -> float:
    # Ray counts GPUs in ten thousandths, and beyond one in whole ones.
    if value and not 1e-4 <= value <= (1 if value % 1 else MOST_TOGETHER):
        raise ValueError("possible: 0, a fraction from 0.0001 on, or whole GPUs")
    return value


def _within(low: float, high: float, above: bool = False) -> AfterValidator:
    """Bounds, both included unless the number must be `above` the lower one."""

    def check(value: float) -> float:
        if not low <= value <= high or (above and value == low):
            raise ValueError(f"possible: {'above ' if above else ''}{low:g} to {_figure(high)}")
        return value

    return AfterValidator(check)


def _check_path(text: str) -> str:
    if "\0" in text or len(os.fsencode(text)) > MOST_OF_A_PATH:
        raise ValueError(f"a path has no NUL and at most {MOST_OF_A_PATH} bytes")
    return text


def _check_class(value: Any) -> int | str:
    """NumPy's integers and strings as Python's."""
    if isinstance(value, str):
        return str(value)
    with contextlib.suppress(TypeError):
        if not isinstance(value, bool):
            return operator.index(value)
    raise ValueError("give a whole number, which is an index, or a name in quotes")


def _listed(value: Any) -> Any:
    """Several of whatever holds several."""
    with contextlib.suppress(TypeError):
        if not isinstance(value, str | bytes | Mapping):
            return list(value)
    raise ValueError("give a list of classes, [3] or ['cat']")


def _figure(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


GapTerm = Literal["forget_accuracy", "retain_accuracy", "mia", "probe"]


def _check_gap_terms(terms: list[GapTerm]) -> list[GapTerm]:
    """In one order, as the order says nothing."""
    for known in (TERMS, PROBED):
        if sorted(terms) == sorted(known):
            return [term for term in get_args(GapTerm) if term in known]
    raise ValueError(f"possible: {', '.join(TERMS)}; or these and probe")


STANDARD_INPUT = "-"
"""The path of a specification that is read from there."""

Plain = StrictBool | StrictInt | float | StrictStr
Located = Annotated[str, AfterValidator(_check_path)]
Class = Annotated[int | str, PlainValidator(_check_class)]
Seed = Annotated[int, _within(0, MOST_SEED)]
Count = Annotated[int, _within(1, 1_000_000_000)]
CountOrNone = Annotated[int, _within(0, 1_000_000_000)]
Batch = Annotated[int, _within(2, 1_048_576)]
Pixels = Annotated[int, _within(1, 4_096)]
Seconds = Annotated[float, _within(0, 1e9, above=True)]  # which timers can wait for
Rate = Annotated[float, _within(0, LARGEST, above=True)]
Weight = Annotated[float, _within(0, LARGEST)]
Points = Annotated[float, _within(0, 100)]
Width = Annotated[float, _within(0, 16, above=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ScenarioSpec(_Section):
    """What is to be forgotten. What is left out is chosen to suit the dataset.

    In `forget` a whole number is the index of a class, from 0, and a string is a name.
    `weights` is a .safetensors file of the base model; with the dataset "none" it is all there is,
    and `image_size` (height and width in pixels) says what images the model takes. `precision` is
    that of the convolutions of models that unlearn; they are measured in float32.

    Validation images are a share of the training images (`validation_fraction`), or, with
    `validation_from` "test", half of the test images. That is so where the base model comes from a
    file, since it may have seen all training images: "training" then says that it was trained
    without that share, as our own are. `held_out` is a text file with a training image a line, an
    index or, of a folder, a path below train/: these are the validation images.
    """

    dataset: Located = "digits"
    forget: Annotated[list[Class], BeforeValidator(_listed)] | None = None
    model: str = "allcnn"
    width: Width | None = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Seed = 0
    evaluation_seed: Seed = 0
    epochs: Count = THESIS_EPOCHS
    learning_rate: Rate = THESIS_LEARNING_RATE
    batch_size: Batch = THESIS_BATCH_SIZE
    gan: Literal["dcgan", "cgan", "wgan-gp"] = "dcgan"
    gan_steps: Count | None = None
    gan_width: Width = 1.0
    anamnesis_alpha: Annotated[float, Field(ge=0, lt=1)] = 0.05
    anamnesis_batch_size: Batch = 256
    anamnesis_epochs: Count = 10
    precision: Literal["float32", "bfloat16"] = "float32"
    weights: Located | None = None
    image_size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] | None = None
    validation_from: Literal["training", "test"] | None = None
    held_out: Located | None = None


class InversionSpec(_Section):
    """How the base model is inverted into generators; see `trainables.scenario.Inversion`. Steps
    and batch size suit the size of the images where they are left out."""

    steps: Count | None = None
    batch_size: Batch | None = None
    learning_rate: Rate = Inversion.learning_rate
    reconstruction_weight: Weight = Inversion.reconstruction_weight
    diversity_weight: Weight = Inversion.diversity_weight
    decoder_layers: Annotated[int, Field(ge=0, le=10)] = Inversion.decoder_layers
    output: Literal["tanh", "normalised"] = "tanh"
    bn_weight: Weight = Inversion.bn_weight
    few_shot: CountOrNone = Inversion.few_shot
    few_shot_weight: Weight = Inversion.few_shot_weight


class Resources(_Section):
    """What one trial holds. `gpus_per_trial` may be a fraction; left out, it is 1 where there is
    a GPU and 0 elsewhere. As many as `fuse` trials share a trial's place, as one computation;
    "auto" has as many as fit into a GPU's memory, up to sixteen, and one on a CPU."""

    cpus_per_trial: Annotated[int, _within(1, MOST_TOGETHER)] = 1
    gpus_per_trial: Annotated[float, AfterValidator(_check_gpus)] | None = None
    fuse: Annotated[int | Literal["auto"], PlainValidator(_check_fuse)] = 1


class StudySpec(_Section):
    """A search: scenario, method, space, objectives and number of trials.

    `gap_terms` says over which metrics the gap to the retrained model is the mean: accuracies and
    MIA, by which who only switches an output off does well, or these and the probe. That gap steers
    with the objective "gap", and chooses the best trial with "pareto" too.
    The objective "synthetic" steers by images of generators that were inverted from the base
    model, so that the search needs no data.
    `trials` is a target, not an increment. `mia_tolerance` (points) makes the distance of the MIA
    to the retrained model's a constraint. `pruner` stops trials early, in studies with one
    objective. `metrics` adds expensive ones to those of every trial; `curves` has every trial
    evaluated after each phase or epoch, as a pruner has. `retries` counts further attempts of a
    trial whose worker died; a run ends, unsettled, when `give_up_after` trials crashed alike before
    any has ended otherwise (0: never); `trial_timeout` and `time_budget` (no trial begins after it)
    are in seconds; `concurrency` bounds the trials run at once. With `pool_samples` the study draws
    the samples of its generators once, and each trial gets the first of them, as many as it asks
    for; without, each trial draws its own.
    """

    name: str | None = None
    method: str = "mugan"
    trials: Count = 100
    sampler: str = "tpe"
    objective: Literal["pareto", "gap", "synthetic"] = "pareto"
    gap_terms: Annotated[list[GapTerm], AfterValidator(_check_gap_terms)] = list(
        get_args(GapTerm)[:3]
    )
    mia_tolerance: Points | None = None
    seed: Seed = 0
    pruner: str = "none"
    metrics: list[Literal["anamnesis", "synthetic"]] = []
    curves: bool = False
    retries: CountOrNone = 3
    give_up_after: CountOrNone = 3
    trial_timeout: Seconds | None = None
    time_budget: Seconds | None = None
    concurrency: Count | None = None
    scenario: ScenarioSpec = ScenarioSpec()
    inversion: InversionSpec = InversionSpec()
    pool_samples: StrictBool = True
    space: dict[str, Plain | list[Plain]] = {}
    resources: Resources = Resources()


def load_spec(path: Path | None, overrides: Mapping[str, Any]) -> StudySpec:
    """A specification from a TOML file (or the defaults), with values from the command line.

    `overrides` has the shape of the file; nested tables are merged key by key. Raises
    InvalidRequest, in one line that says what is possible, for an unreadable file, an unknown key
    and an impossible value.
    """
    described = _read_toml(path) if path else {}
    try:
        merged = _merge(described, overrides)
    except RecursionError:
        raise InvalidRequest(f"{path}: nested too deeply") from None
    return validate(merged, _called(path) if path else "")


def validate(values: Mapping[str, Any], origin: str = "") -> StudySpec:
    """A specification from plain values. Raises InvalidRequest; `origin` names where they stood."""
    try:
        return StudySpec.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(_explain(error, origin)) from None
    except (RecursionError, OverflowError) as error:
        raise InvalidRequest(f"{origin}: cannot be understood ({error})") from None


def check(spec: StudySpec) -> None:
    """Raises InvalidRequest for what is seen to be wrong without a look at data and weights."""
    methods.check_known(spec.method)
    samplers.check_known(spec.sampler)
    pruners.check_known(spec.pruner)
    if spec.pruner != "none" and spec.objective != "gap":
        raise InvalidRequest(
            f"the pruner {spec.pruner} needs one objective to judge by: give --objective gap, or "
            "no pruner"
        )
    if spec.objective == "synthetic" and probed(spec):
        raise InvalidRequest(
            "gap_terms with the probe (--gap-terms) are of real images; the objective synthetic "
            "has a gap of its own"
        )
    if spec.resources.fuse not in (1, AUTO):
        _check_fusable(spec)
    if spec.name is not None:
        check_name(spec.name)


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
    return numbered(_weights(given.weights).num_classes)


def forgotten(spec: StudySpec, places: Places) -> str:
    """What a resolved specification forgets, for people: `class 1 ('cat')`."""
    labels = [label for label in spec.scenario.forget or [] if isinstance(label, int)]
    return labelled(labels, class_names(spec, places))


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
    weights = None if given.weights is None else _weights(given.weights)
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
        dataset = str(_absolute(dataset))
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
    _checked_validation(scenario, raw)
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
    path = None if given.held_out is None else str(_absolute(given.held_out))
    return {"validation_from": taken, "validation_fraction": share, "held_out": path}


def _check_fusable(spec: StudySpec) -> None:
    if not methods.is_plan(spec.method):
        possible = ", ".join(name for name in methods.METHODS if methods.is_plan(name))
        raise InvalidRequest(
            f"trials of {spec.method} cannot be fused (resources.fuse); possible: {possible}"
        )
    if spec.pruner != "none" or spec.curves:
        raise InvalidRequest(
            "trials that are fused (resources.fuse) go through their phases together: there are no "
            "curves and there is no pruner"
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
    from trainables.access import ZERO_SHOT

    needs = SearchSpace(spec.method, spec.space).needs
    if not needs <= ZERO_SHOT:
        raise InvalidRequest(
            f"{spec.method} needs {', '.join(sorted(needs))}; `forgetune methods` says which need "
            "no data"
        )
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
    """The authors' length for images of their size; small ones are learnt much sooner."""
    small = max(image_size) <= 16
    return given.model_copy(
        update={
            "steps": given.steps or (Inversion.steps if small else KEGNET_STEPS),
            "batch_size": given.batch_size
            or (Inversion.batch_size if small else KEGNET_BATCH_SIZE),
        }
    )


def _weights(text: str) -> Weights:
    return inspect(_absolute(text))


def _absolute(text: str) -> Path:
    """The path of a file or folder that a user named, from any folder and in any process."""
    path = Path(os.path.expanduser(text)).absolute()
    try:
        found = path.resolve()
    except (OSError, RuntimeError):  # links in a circle; who reads it says so
        return path
    # A link may lead to a file that is called otherwise; what a file is, its suffix says.
    return found if found.suffix == path.suffix else path.parent.resolve() / path.name


def _checked_validation(scenario: ScenarioSpec, raw: Raw) -> list[str]:
    """Lines on classes to be forgotten that have few validation images. Raises DataError where
    there are too few to measure by, or the list of what was held out cannot be used."""
    assert scenario.forget is not None
    held_out = None
    if scenario.held_out is not None:
        held_out = splits.read_held_out(Path(scenario.held_out), raw)
    how = scenario.validation_fraction or 0.0, scenario.validation_from or "training", held_out
    return splits.check(raw, *how, [int(label) for label in scenario.forget])


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
        weights = _weights(spec.scenario.weights)
        values["image_shape"] = (weights.channels, *spec.scenario.image_size)
        values["num_classes"] = weights.num_classes
    inversion = Inversion(**spec.inversion.model_dump())
    return Scenario(**{**values, "forget": tuple(values["forget"]), "inversion": inversion})


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
        parts.append(_weights(scenario.weights).fingerprint)
    return "+".join(parts)


def notes(spec: StudySpec, places: Places) -> tuple[str, ...]:
    """What people should know of the dataset of a resolved specification before it runs, such as
    files in it that are no images, and classes with few images to validate on."""
    if spec.scenario.dataset == NO_DATASET:
        return ()
    raw = read(spec.scenario.dataset, places.data)
    return (*raw.notes, *_checked_validation(spec.scenario, raw))


def probed(spec: StudySpec) -> bool:
    """Whether the gap that steers the study, and chooses the best of it, is that with the probe."""
    return "probe" in spec.gap_terms


def measured(spec: StudySpec) -> tuple[str, ...]:
    """The groups of expensive metrics that every trial of the study is measured by."""
    steering = ["synthetic"] if spec.objective == "synthetic" else []
    return tuple(dict.fromkeys([*spec.metrics, *steering]))


def check_name(name: str) -> None:
    """Raises InvalidRequest for a study name that is no plain folder name."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            f"study name {name[:60]!r} cannot be used; possible are up to 100 letters, digits and "
            "._- (starting with a letter or digit)"
        )


def pool_seed(spec: StudySpec) -> int | None:
    """The seed of the samples that the study's trials share; None if each draws its own."""
    return spec.seed if spec.pool_samples else None


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for all that says what a study is and is not the same.

    What `before` does not name has its default: an earlier version may not have known it. How the
    base model is inverted is no part of a study that does not invert it.
    """
    before = stored(before)
    with contextlib.suppress(InvalidRequest):
        before = validate(before).model_dump(mode="json")
    lines = []
    ignored = {*EXECUTION, "name", *([] if _inverts(before) or _inverts(after) else ["inversion"])}
    for key in sorted({*before, *after} - ignored):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += [
                f"{key}.{part}: {old.get(part)} -> {new.get(part)}"
                for part in sorted({*old, *new})
                if old.get(part) != new.get(part)
            ]
        elif old != new:
            lines.append(f"{key}: {old} -> {new}")
    return lines


def _inverts(described: Mapping[str, Any]) -> bool:
    """Whether the base model is inverted for the study of a stored specification; so, where that
    cannot be told."""
    try:
        spec = validate(described)
        needs = SearchSpace(spec.method, spec.space).needs
    except InvalidRequest:
        return True
    from trainables.access import Access

    return "synthetic" in measured(spec) or Access.INVERTED in needs


def keeping_split(before: Mapping[str, Any], changed: Sequence[str]) -> str:
    """The options that keep the validation images of a stored specification, where these alone
    have `changed`, as they may have by other defaults; else empty."""
    if not all(line.startswith("scenario.validation_") for line in changed):
        return ""
    scenario = stored(before)["scenario"]
    share = scenario.get("validation_fraction")
    return f"--validation-from {scenario['validation_from']}" + (
        "" if share is None else f" --validation-fraction {share}"
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


def _read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, or standard input for "-". Raises InvalidRequest."""
    try:
        content = _standard_input() if str(path) == STANDARD_INPUT else path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]:
            raise InvalidRequest(
                f"{_called(path)}: is in UTF-16; TOML is in UTF-8, so save it as that"
            )
        return tomllib.loads(content.decode("utf-8-sig"))
    except InvalidRequest:
        raise
    except FileNotFoundError:
        raise InvalidRequest(f"{_called(path)}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{_called(path)}: cannot be read ({error})") from None
    except RecursionError:
        raise InvalidRequest(f"{_called(path)}: not valid TOML (nested too deeply)") from None
    except ValueError as error:  # also of numbers and paths that are none
        raise InvalidRequest(f"{_called(path)}: not valid TOML ({error})") from None


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise InvalidRequest(
            "standard input: nothing is piped into it (as in `forgetune best --toml | forgetune "
            "trial -`)"
        )
    content = _all_of(sys.stdin.buffer)
    if not content.strip():
        raise InvalidRequest("standard input: is empty; a specification in TOML is expected")
    return content


@lru_cache(maxsize=1)
def _all_of(stream: BinaryIO) -> bytes:
    """What a stream gives, which it does once; several studies may be described by it."""
    return stream.read()


def _called(path: Path) -> str:
    return "standard input" if str(path) == STANDARD_INPUT else str(path)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


_SECTIONS: dict[str, type[_Section]] = {
    "scenario": ScenarioSpec,
    "inversion": InversionSpec,
    "resources": Resources,
}


def _explain(error: ValidationError, origin: str) -> str:
    """The first thing wrong, in one line."""
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    prefix = f"{origin}: " if origin else ""
    if first["type"] == "extra_forbidden":
        section = _SECTIONS.get(where[0], StudySpec) if len(where) > 1 else StudySpec
        kind = f"key of {where[0]}" if len(where) > 1 else "key"
        return prefix + unknown(kind, where[-1], section.model_fields)
    if where[0] == "space":
        name = ".".join(where[:2])
        return f"{prefix}{name}: give a value, a list of values or 'LOW..HIGH', all finite"
    name = ".".join(part for part in where if not part.startswith(("str", "int")))
    if first["type"] == "value_error":
        told = first["msg"].removeprefix("Value error, ")
    elif first["type"] == "model_type":
        told = "it should be a table of keys"
    else:
        told = first["msg"].lower()
    return f"{prefix}{name} is {shortened(first['input'])}: {told}"
