"""What trials of one scenario share on one device: data, base and retrained model, generators.

Each expensive part is an artifact, built when it is first asked for. `PREREQUISITES` names the
parts in the order in which they can be built, so that a scheduler can build them in parallel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property, lru_cache, partial
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
from trainables.metrics.anamnesis import Relearning, relearn
from trainables.metrics.compare import Comparison
from trainables.metrics.evaluate import Evaluator, predict
from trainables.scenario import Places, Scenario
from trainables.sources import SPLIT_SEED, Raw, read
from trainables.training import fit

RECIPES = {"base": 1, "retrained": 1, "log": 1, "dcgan": 1, "reference": 2, "relearning": 1}
"""Raised by one when the code that builds a kind of artifact changes what it builds."""

GAN = "gan "
"""What the name of a class' GAN begins with, before the class."""

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
        return self._model(self._artifact("base"))

    @cached_property
    def retrained(self) -> nn.Module:
        """The gold standard: trained from scratch without the forget classes. Never changed."""
        return self._model(self._artifact("retrained"))

    @cached_property
    def comparison(self) -> Comparison:
        untrained = self._fresh_model(self.scenario.evaluation_seed).to(self.device)
        return Comparison(self.dataset, self.scenario.forget, self.retrained, untrained)

    def relearn(self, model: nn.Module) -> Relearning:
        """How soon a copy of `model` knows the forget classes again (eq. 10)."""
        held_out = self.dataset.validation.of(self.scenario.forget)
        scenario = self.scenario
        target = (1 - scenario.anamnesis_alpha) * self.references["base"]["forget_accuracy"]
        return relearn(
            model,
            self.dataset.train,
            held_out,
            target,
            scenario.evaluation_seed,
            batch_size=scenario.anamnesis_batch_size,
            most_epochs=scenario.anamnesis_epochs,
        )

    @cached_property
    def retrained_relearning(self) -> Relearning:
        """The same of the retrained model, measured once per scenario."""
        return Relearning(**self._artifact("relearning").facts)

    @cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.dataset, self.scenario.forget, self.scenario.evaluation_seed)

    @cached_property
    def references(self) -> dict[str, dict[str, float]]:
        """Metrics of the models "base" and "retrained", which every trial is compared with."""
        facts = self._artifact("reference").facts
        return {name: dict(facts[name]) for name in ("base", "retrained")}

    @cached_property
    def gans(self) -> ClassGenerators:
        """One generator per class. Raises GeneratorError if any has collapsed."""
        generators = {}
        for label in range(len(self.dataset.classes)):
            artifact = self._artifact(f"{GAN}{label}")
            _check_not_collapsed(label, artifact.facts)
            generator = dcgan.Generator(self.dataset.image_shape, self.scenario.gan_width)
            generator.load_state_dict(artifact.tensors)
            generators[label] = generator.to(self.device).eval()
        return ClassGenerators(generators, self.base)

    @cached_property
    def log(self) -> Mapping[str, Tensor]:
        """Parameter name -> the sum of its updates by batches that held forget samples."""
        tensors = self._artifact("log").tensors
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def prerequisites(
        self, needs: frozenset[Access], expensive: tuple[str, ...] = ()
    ) -> list[list[str]]:
        """Names of the artifacts that trials need, in stages; parts of one stage are independent.

        Each name is one for `prepare`. `expensive` names groups of metrics to be measured.
        """
        stages = [["base", "retrained"], ["reference"]]
        if Access.LOG in needs:
            stages[0].append("log")
        if Access.GANS in needs:
            stages[1] += [f"{GAN}{label}" for label in range(len(self._raw.classes))]
        if "anamnesis" in expensive:
            stages.append(["relearning"])
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
        artifact = self._artifact(name)
        if name.startswith(GAN):
            _check_not_collapsed(int(name.removeprefix(GAN)), artifact.facts)
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
                Access.LOG: lambda: self.log,
            },
            forget,
            len(self.dataset.classes),
            self.dataset.image_shape,
        )

    def prepare_seconds(self, needs: frozenset[Access]) -> float:
        """What the artifacts behind `needs`, once granted, cost when they were built (seconds)."""
        parts = []
        if Access.LOG in needs:
            parts.append("log")
        if Access.GANS in needs:
            parts += [f"{GAN}{label}" for label in range(len(self._raw.classes))]
        # What was granted has been fetched, and its cost noted, already.
        return sum(self._seconds[part] for part in parts)

    def _artifact(self, name: str) -> Artifact:
        builders: dict[str, Callable[[], Built]] = {
            "base": lambda: self._train(self.dataset.train, self.scenario.seed),
            "retrained": self._retrain,
            "log": self._record_log,
            "reference": self._measure_references,
            "relearning": lambda: ({}, asdict(self.relearn(self.retrained))),
        }
        build = builders.get(name) or partial(self._train_gan, int(name.removeprefix(GAN)))
        kind, description = self._describe(name)
        artifact = self._store.obtain(kind, description, build)
        self._seconds[name] = artifact.seconds
        return artifact

    def _describe(self, name: str) -> tuple[str, dict[str, Any]]:
        """Kind and description of a prerequisite: all that determines its content."""
        scenario = self.scenario
        data = {
            "dataset": self._raw.fingerprint,
            "validation_fraction": scenario.validation_fraction,
            "split_seed": SPLIT_SEED,
            "seed": scenario.seed,
        }
        training = {
            "model": scenario.model,
            "width": scenario.width,
            "epochs": scenario.epochs,
            "learning_rate": scenario.learning_rate,
            "batch_size": scenario.batch_size,
        }
        forget: dict[str, Any] = {"forget": list(scenario.forget)}
        if name.startswith(GAN):
            kind = "dcgan"
            described = {
                **data,
                "base": key_of(self._describe("base")[1]),
                "class": int(name.removeprefix(GAN)),
                "steps": scenario.gan_steps,
                "width": scenario.gan_width,
            }
        elif name == "base":
            kind, described = name, {**data, **training}
        elif name in ("retrained", "log"):
            kind, described = name, {**data, **training, **forget}
        else:
            compared = {part: key_of(self._describe(part)[1]) for part in ("base", "retrained")}
            seed = {"evaluation_seed": scenario.evaluation_seed}
            kind, described = name, {**compared, **forget, **seed}
            if name == "relearning":
                described |= {
                    "alpha": scenario.anamnesis_alpha,
                    "batch_size": scenario.anamnesis_batch_size,
                    "most_epochs": scenario.anamnesis_epochs,
                }
        return kind, {**described, "recipe": RECIPES[kind]}

    def _model(self, artifact: Artifact) -> nn.Module:
        model = self._fresh_model(seed=0)
        model.load_state_dict(artifact.tensors)
        return model.to(self.device).eval()

    def _fresh_model(self, seed: int) -> nn.Module:
        scenario = self.scenario
        shape, classes = self.dataset.image_shape, len(self.dataset.classes)
        return models.build(scenario.model, shape, classes, scenario.width, seed)

    def _retrain(self) -> Built:
        retain = self.dataset.train.without(self.scenario.forget)
        # Another seed: retraining starts from a fresh initialisation, not from the base model's.
        return self._train(retain, self.scenario.seed + 1)

    def _measure_references(self) -> Built:
        compared = {"base": self.base, "retrained": self.retrained}
        return {}, {
            name: {**self.evaluator(model), **self.comparison(model)}
            for name, model in compared.items()
        }

    def _record_log(self) -> Built:
        """The base model's training once more, with the updates of the batches that held forget
        samples written down (Graves et al. 2020).

        One sum answers this forget request. A log that can answer every request keeps the updates
        of all batches; what that takes is in the facts, in bytes.
        """
        scenario = self.scenario
        wanted = torch.tensor(scenario.forget, device=self.device)
        model = self._fresh_model(scenario.seed).to(self.device)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        summed = {name: torch.zeros_like(value) for name, value in before.items()}
        batches = {"all": 0, "with_forget_samples": 0}

        def record(labels: Tensor) -> None:
            touched = bool(torch.isin(labels, wanted).any())
            batches["all"] += 1
            batches["with_forget_samples"] += touched
            for name, parameter in model.named_parameters():
                if touched:
                    summed[name] += parameter.detach() - before[name]
                before[name].copy_(parameter.detach())

        self._train(self.dataset.train, scenario.seed, model, record)
        size = sum(value.numel() * value.element_size() for value in summed.values())
        return summed, {
            "batches": batches["all"],
            "batches_with_forget_samples": batches["with_forget_samples"],
            "bytes": size,
            "bytes_of_sums_per_class": size * len(self.dataset.classes),
            "bytes_of_a_full_log": size * batches["all"],
        }

    def _train(
        self,
        samples: Samples,
        seed: int,
        model: nn.Module | None = None,
        after_step: Callable[[Tensor], None] | None = None,
    ) -> Built:
        """The thesis' recipe (4.3.1): Adam on cross-entropy. The curve goes into the facts."""
        scenario = self.scenario
        model = self._fresh_model(seed).to(self.device) if model is None else model
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
            after_step=after_step,
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
            generator = dcgan.train(samples, self.scenario.gan_steps, seed, self.scenario.gan_width)
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


def use_threads(count: int) -> None:
    """CPU threads of this process. The last digits of a trial's numbers depend on them."""
    torch.set_num_threads(count)


def prepare_part(scenario: Scenario, places: Places, name: str, threads: int) -> dict[str, Any]:
    """`Workbench.prepare` in a process of its own, with this many CPU threads."""
    use_threads(threads)
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
