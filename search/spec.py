"""A study's specification, validated, from a TOML file and command-line flags."""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from search import pruners, samplers
from search.space import Override, SearchSpace
from trainables import methods
from trainables.errors import InvalidRequest, unknown
from trainables.scenario import (
    THESIS_BATCH_SIZE,
    THESIS_EPOCHS,
    THESIS_LEARNING_RATE,
    Places,
    Scenario,
)
from trainables.sources import SOURCES, read, source

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

EXECUTION = (
    *("trials", "sampler", "pruner", "metrics", "curves"),
    *("retries", "trial_timeout", "concurrency", "resources"),
)
"""What may change when a study is continued; all else says what the study *is*."""

Plain = StrictBool | StrictInt | float | StrictStr
Positive = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ScenarioSpec(_Section):
    """What is to be forgotten. What is left out is chosen to suit the dataset."""

    dataset: str = "digits"
    forget: list[StrictInt | StrictStr] | None = None
    model: str = "allcnn"
    width: Annotated[float, Field(gt=0, le=16)] | None = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    evaluation_seed: Annotated[int, Field(ge=0)] = 0
    epochs: Positive = THESIS_EPOCHS
    learning_rate: Annotated[float, Field(gt=0)] = THESIS_LEARNING_RATE
    batch_size: Annotated[int, Field(ge=2)] = THESIS_BATCH_SIZE
    gan_steps: Positive | None = None
    gan_width: Annotated[float, Field(gt=0, le=16)] = 1.0
    anamnesis_alpha: Annotated[float, Field(ge=0, lt=1)] = 0.05
    anamnesis_batch_size: Annotated[int, Field(ge=2)] = 256
    anamnesis_epochs: Positive = 10


class Resources(_Section):
    """What one trial holds. `gpus_per_trial` may be a fraction; left out, it is 1 where there is
    a GPU and 0 elsewhere."""

    cpus_per_trial: Positive = 1
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None


class StudySpec(_Section):
    """A search: scenario, method, space, objectives and number of trials.

    `trials` is a target, not an increment. `mia_tolerance` (points) makes the distance of the MIA
    to the retrained model's a constraint. `pruner` stops trials early, in studies with one
    objective. `metrics` adds expensive ones to those of every trial; `curves` has every trial
    evaluated after each phase or epoch, as a pruner has. `retries` counts further attempts of a
    trial whose worker died; `trial_timeout` is in seconds; `concurrency` bounds the trials run at
    once.
    """

    name: str | None = None
    method: str = "mugan"
    trials: Positive = 100
    sampler: str = "tpe"
    objective: Literal["pareto", "gap"] = "pareto"
    mia_tolerance: Annotated[float, Field(ge=0)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    pruner: str = "none"
    metrics: list[Literal["anamnesis"]] = []
    curves: bool = False
    retries: Annotated[int, Field(ge=0)] = 3
    trial_timeout: Annotated[float, Field(gt=0)] | None = None
    concurrency: Positive | None = None
    scenario: ScenarioSpec = ScenarioSpec()
    space: dict[str, Plain | list[Plain]] = {}
    resources: Resources = Resources()


def load_spec(path: Path | None, overrides: Mapping[str, Any]) -> StudySpec:
    """A specification from a TOML file (or the defaults), with values from the command line.

    `overrides` has the shape of the file; nested tables are merged key by key. Raises
    InvalidRequest, in one line that says what is possible, for an unreadable file, an unknown key
    and an impossible value.
    """
    return validate(_merge(_read_toml(path) if path else {}, overrides), str(path or ""))


def validate(values: Mapping[str, Any], origin: str = "") -> StudySpec:
    """A specification from plain values. Raises InvalidRequest; `origin` names where they stood."""
    try:
        return StudySpec.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(_explain(error, origin)) from None


def resolve(spec: StudySpec, places: Places) -> StudySpec:
    """The same study with nothing left open: name, class numbers, what suits the dataset.

    Reads the dataset (downloading it where that is possible). Raises InvalidRequest for unknown
    names, classes out of range and spaces that are none.
    """
    methods.check_known(spec.method)
    samplers.check_known(spec.sampler)
    pruners.check_known(spec.pruner)
    if spec.pruner != "none" and spec.objective != "gap":
        raise InvalidRequest(
            f"the pruner {spec.pruner} needs one objective to judge by: give --objective gap, or "
            "no pruner"
        )
    if spec.name is not None:
        check_name(spec.name)
    given = spec.scenario
    suits = source(given.dataset)
    raw = read(given.dataset, places.data)
    wanted = given.forget
    if wanted is None:
        if suits.forget is None:
            raise InvalidRequest(
                f"say which class of {given.dataset} to forget (--forget or scenario.forget); "
                f"its classes: {', '.join(raw.classes[:12])}"
            )
        wanted = [suits.forget]
    forget = raw.resolve_classes(wanted)
    width = given.width
    if width is None:
        width = suits.width if given.model == "allcnn" else 1.0
    dataset = given.dataset
    if dataset not in SOURCES:  # a path, which workers must find from any folder
        dataset = str(Path(os.path.expanduser(dataset)).resolve())
    scenario = given.model_copy(
        update={
            "dataset": dataset,
            "forget": list(forget),
            "width": width,
            "validation_fraction": given.validation_fraction or suits.validation_fraction,
            "gan_steps": given.gan_steps or suits.gan_steps,
        }
    )
    from trainables import models

    models.check(scenario.model, raw.image_shape, len(raw.classes), width)
    space = _capped(SearchSpace(spec.method, spec.space), spec.space, suits.samples_per_class)
    name = spec.name or _default_name(spec.method, scenario)
    return spec.model_copy(update={"name": name, "scenario": scenario, "space": space})


def scenario_of(spec: StudySpec) -> Scenario:
    """The scenario of a resolved specification."""
    values = spec.scenario.model_dump()
    return Scenario(**{**values, "forget": tuple(values["forget"])})


def check_name(name: str) -> None:
    """Raises InvalidRequest for a study name that is no plain folder name."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            f"study name {name[:60]!r} cannot be used; possible are up to 100 letters, digits and "
            "._- (starting with a letter or digit)"
        )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for all that says what a study is and is not the same.

    What `before` does not name has its default: an earlier version may not have known it.
    """
    with contextlib.suppress(InvalidRequest):
        before = validate(before).model_dump(mode="json")
    lines = []
    for key in sorted({*before, *after} - {*EXECUTION, "name"}):
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


def _capped(
    space: SearchSpace, given: Mapping[str, Override], most_samples: int
) -> dict[str, Override]:
    """The overrides, with the samples per class bounded by what suits the dataset."""
    bounds = space.distributions.get("samples_per_class")
    low, high = getattr(bounds, "low", 0), getattr(bounds, "high", 0)
    if "samples_per_class" in given or not low < most_samples < high:
        return dict(given)
    return {**given, "samples_per_class": f"{low}..{most_samples}"}


def _default_name(method: str, scenario: ScenarioSpec) -> str:
    dataset = re.sub(r"[^A-Za-z0-9-]+", "-", Path(scenario.dataset).stem) or "data"
    forget = "-".join(map(str, scenario.forget or []))
    return f"{method}-{dataset}-{scenario.model}-forget-{forget}"[:100]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidRequest(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{path}: not valid TOML ({error})") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


_SECTIONS: dict[str, type[_Section]] = {"scenario": ScenarioSpec, "resources": Resources}


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
        return f"{prefix}{name}: give a value, a list of values or 'LOW..HIGH'"
    name = ".".join(part for part in where if not part.startswith(("str", "int")))
    return f"{prefix}{name} is {first['input']!r}: {first['msg'].lower()}"
