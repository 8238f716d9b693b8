"""What trials of one scenario share on one device: data, base and retrained model, generators.

Each expensive part is an artifact, built when it is first asked for. `PREREQUISITES` names the
parts in the order in which they can be built, so that a scheduler can build them in parallel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainables import models
from trainables.access import Access, Granted
from trainables.artifacts import Artifact, Built, Store, key_of
from trainables.data import Dataset, Samples, load
from trainables.errors import GeneratorError
from trainables.files import write_whole
from trainables.generators import dcgan
from trainables.generators.sampling import ClassGenerators, share_classified_as
from trainables.metrics.accuracy import accuracy
from trainables.metrics.evaluate import Evaluator, predict
from trainables.scenario import Places, Scenario
from trainables.sources import SPLIT_SEED, Raw, read
from trainables.training import fit

RECIPES = {"base": 1, "retrained": 1, "dcgan": 1, "reference": 1}
"""Raised by one when the code that builds a kind of artifact changes what it builds."""

GAN_ATTEMPTS = 3
"""Trainings of a class' GAN, each with another seed, before it is called collapsed."""

GAN_PASS_SHARE = 0.5
"""A GAN counts as collapsed when a smaller share of its samples is classified as its class."""

GAN_CHECK_SAMPLES = 500


class Workbench:
    """Everything that trials of `scenario` share, kept on `device` between trials.

    Raises DataError for unreadable data and InvalidRequest for an unusable artifacts folder.
    """

    def __init__(self, scenario: Scenario, places: Places, device: torch.device) -> None:
        self.scenario = scenario
        self.device = device
        self._store = Store(places.artifacts)
        self._data_root = places.data
        self._seconds: dict[str, float] = {}

    @cached_property
    def dataset(self) -> Dataset:
        scenario = self.scenario
        on_cpu = load(scenario.dataset, self._data_root, scenario.validation_fraction)
        return on_cpu.to(self.device)

    @property
    def _raw(self) -> Raw:
        """The data as read: enough to name artifacts, without tensors of all images."""
        return read(self.scenario.dataset, self._data_root)

    @cached_property
    def base(self) -> nn.Module:
        """The classifier that must forget, in evaluation mode. Never changed: clone it."""
        return self._model(self._base_artifact())

    @cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.dataset, self.scenario.forget, self.scenario.evaluation_seed)

    @cached_property
    def references(self) -> dict[str, dict[str, float]]:
        """Metrics of the models "base" and "retrained", which every trial is compared with."""
        facts = self._reference_artifact().facts
        return {name: dict(facts[name]) for name in ("base", "retrained")}

    @cached_property
    def gans(self) -> ClassGenerators:
        """One generator per class. Raises GeneratorError if any has collapsed."""
        generators = {}
        for label in range(len(self.dataset.classes)):
            artifact = self._gan_artifact(label)
            _check_not_collapsed(label, artifact.facts)
            generator = dcgan.Generator(self.dataset.image_shape)
            generator.load_state_dict(artifact.tensors)
            generators[label] = generator.to(self.device).eval()
        return ClassGenerators(generators, self.base)

    def prerequisites(self, needs: frozenset[Access]) -> list[list[str]]:
        """Names of the artifacts that trials need, in stages; parts of one stage are independent.

        Each name is one for `prepare`.
        """
        stages = [["base", "retrained"], ["reference"]]
        if Access.GANS in needs:
            stages[1] += [f"gan {label}" for label in range(len(self._raw.classes))]
        return stages

    def is_prepared(self, name: str) -> bool:
        """Whether the artifact of this name is in the store, whole."""
        kind, description = self._describe(name)
        return self._store.has(kind, description)

    def prepare(self, name: str) -> dict[str, Any]:
        """Build one prerequisite unless it is there; says what came of it.

        "origin" is cached, built or rebuilt, "seconds" what building cost, "note" what was set
        aside as damaged. Raises Diverged or GeneratorError where training fails.
        """
        if name == "base":
            artifact = self._base_artifact()
        elif name == "retrained":
            artifact = self._retrained_artifact()
        elif name == "reference":
            artifact = self._reference_artifact()
        else:
            label = int(name.removeprefix("gan "))
            artifact = self._gan_artifact(label)
            _check_not_collapsed(label, artifact.facts)
        return {"origin": artifact.origin, "seconds": artifact.seconds, "note": artifact.note}

    def grant(self, needs: frozenset[Access]) -> Granted:
        """Access to exactly what `needs` names."""
        train, forget = self.dataset.train, self.scenario.forget
        return Granted(
            needs,
            {
                Access.FORGET: lambda: train.of(forget),
                Access.RETAIN: lambda: train.without(forget),
                Access.GANS: lambda: self.gans,
            },
            forget,
            len(self.dataset.classes),
        )

    def prepare_seconds(self, needs: frozenset[Access]) -> float:
        """What the artifacts behind `needs` cost when they were built, in seconds."""
        if Access.GANS not in needs:
            return 0.0
        names = [f"gan {label}" for label in self.gans.generators]
        return sum(self._seconds[name] for name in names)

    def _describe(self, name: str) -> tuple[str, dict[str, Any]]:
        """Kind and description of a prerequisite: all that determines its content."""
        scenario = self.scenario
        data = {
            "dataset": self._raw.fingerprint,
            "validation_fraction": scenario.validation_fraction,
            "split_seed": SPLIT_SEED,
            "seed": scenario.seed,
        }
        recipe = {
            "model": scenario.model,
            "width": scenario.width,
            "epochs": scenario.epochs,
            "learning_rate": scenario.learning_rate,
            "batch_size": scenario.batch_size,
        }
        forget = {"forget": list(scenario.forget)}
        if name == "base":
            kind, description = "base", data | recipe
        elif name == "retrained":
            kind, description = "retrained", data | recipe | forget
        elif name == "reference":
            models_used = {part: key_of(self._describe(part)[1]) for part in ("base", "retrained")}
            kind, description = (
                "reference",
                {
                    **models_used,
                    **forget,
                    "evaluation_seed": scenario.evaluation_seed,
                },
            )
        else:
            label = int(name.removeprefix("gan "))
            kind, description = (
                "dcgan",
                {
                    **data,
                    "base": key_of(self._describe("base")[1]),
                    "class": label,
                    "steps": scenario.gan_steps,
                },
            )
        return kind, description | {"recipe": RECIPES[kind]}

    def _base_artifact(self) -> Artifact:
        return self._obtain("base", lambda: self._train(self.dataset.train, self.scenario.seed))

    def _retrained_artifact(self) -> Artifact:
        retain = self.dataset.train.without(self.scenario.forget)
        # Another seed: retraining starts from a fresh initialisation, not from the base model's.
        return self._obtain("retrained", lambda: self._train(retain, self.scenario.seed + 1))

    def _reference_artifact(self) -> Artifact:
        def build() -> Built:
            retrained = self._model(self._retrained_artifact())
            return {}, {"base": self.evaluator(self.base), "retrained": self.evaluator(retrained)}

        return self._obtain("reference", build)

    def _gan_artifact(self, label: int) -> Artifact:
        return self._obtain(f"gan {label}", lambda: self._train_gan(label))

    def _obtain(self, name: str, build: Callable[[], Built]) -> Artifact:
        kind, description = self._describe(name)
        artifact = self._store.obtain(kind, description, build)
        self._seconds[name] = artifact.seconds
        return artifact

    def _model(self, artifact: Artifact) -> nn.Module:
        model = self._fresh_model(seed=0)
        model.load_state_dict(artifact.tensors)
        return model.to(self.device).eval()

    def _fresh_model(self, seed: int) -> nn.Module:
        scenario = self.scenario
        shape, classes = self.dataset.image_shape, len(self.dataset.classes)
        return models.build(scenario.model, shape, classes, scenario.width, seed)

    def _train(self, samples: Samples, seed: int) -> Built:
        """The thesis' recipe (4.3.1): Adam on cross-entropy. The curve goes into the facts."""
        scenario = self.scenario
        model = self._fresh_model(seed).to(self.device)
        rng = torch.Generator(self.device).manual_seed(seed)
        held_out = self.dataset.validation
        curve = []
        for loss in fit(
            model,
            samples,
            epochs=scenario.epochs,
            learning_rate=scenario.learning_rate,
            batch_size=scenario.batch_size,
            rng=rng,
        ):
            correct = accuracy(predict(model, held_out.images), held_out.labels)
            curve.append({"training_loss": loss, "validation_accuracy": correct})
        return _state(model), {"curve": curve}

    def _train_gan(self, label: int) -> Built:
        """The first of a few trainings that does not collapse; the best one if all do."""
        samples = self.dataset.train.of((label,))
        best: tuple[float, Mapping[str, Tensor]] = (-1.0, {})
        shares = []
        for attempt in range(GAN_ATTEMPTS):
            # Seeds of classes and attempts must not meet.
            seed = (self.scenario.seed * 100_003 + label) * GAN_ATTEMPTS + attempt
            generator = dcgan.train(samples, self.scenario.gan_steps, seed)
            rng = torch.Generator(self.device).manual_seed(seed)
            share = share_classified_as(self.base, generator, label, GAN_CHECK_SAMPLES, rng)
            shares.append(share)
            if share > best[0]:
                best = (share, _state(generator))
            if share >= GAN_PASS_SHARE:
                break
        return best[1], {"collapsed": best[0] < GAN_PASS_SHARE, "shares": shares}


@lru_cache(maxsize=1)
def shared_workbench(scenario: Scenario, places: Places) -> Workbench:
    """This process' workbench, on its GPU if it has one; kept until another scenario comes."""
    return Workbench(scenario, places, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def prepare_part(scenario: Scenario, places: Places, name: str, threads: int) -> dict[str, Any]:
    """`Workbench.prepare` in a process of its own, with this many CPU threads."""
    torch.set_num_threads(threads)
    return shared_workbench(scenario, places).prepare(name)


def save_model(model: nn.Module, path: Path) -> None:
    """Write weights and running statistics as safetensors, whole or not at all. Raises OSError."""
    write_whole(path, save_tensors(_state(model)))


def clone(model: nn.Module) -> nn.Module:
    """A copy that shares no tensor with `model`."""
    return copy.deepcopy(model)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _check_not_collapsed(label: int, facts: Mapping[str, Any]) -> None:
    if facts["collapsed"]:
        shares = ", ".join(f"{share:.0%}" for share in facts["shares"])
        raise GeneratorError(
            f"the GAN of class {label} collapsed in each of {len(facts['shares'])} trainings "
            f"({shares} of its samples are classified as its class; {GAN_PASS_SHARE:.0%} is "
            "needed); train for longer or shorter (scenario.gan_steps), or choose another seed"
        )
