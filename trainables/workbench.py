"""What trials of one scenario share on one device: data, base and retrained model, generators.

Each expensive part is an artifact, built when it is first asked for. `prerequisites` names the
parts in the order in which they can be built, so that a scheduler can build them in parallel.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainables.access import Access, Granted
from trainables.artifacts import recipes
from trainables.artifacts.files import write_whole
from trainables.artifacts.recipes import ALL_CLASSES, GAN, LOG, Origin, classes_of, inversion_seed
from trainables.artifacts.remote import Remote
from trainables.artifacts.shipping import Shipment, unpack
from trainables.artifacts.store import Artifact, Built, Depot, Store, checksum, key_of
from trainables.data import splits
from trainables.data.classes import indices_of, labelled, numbered, short
from trainables.data.dataset import Dataset, Samples, load
from trainables.data.sources import Raw, read
from trainables.data.splits import HeldOut, read_held_out
from trainables.errors import DataError, GeneratorError, InvalidRequest
from trainables.generators import cgan, dcgan, kegnet, wgan_gp
from trainables.generators.sampling import (
    ClassGenerators,
    Ensemble,
    Pool,
    Sampler,
    share_classified_as,
)
from trainables.methods.mask import Mask
from trainables.metrics import anamnesis
from trainables.metrics.accuracy import accuracy
from trainables.metrics.anamnesis import Relearning, relearn
from trainables.metrics.compare import Comparison
from trainables.metrics.evaluate import Evaluator
from trainables.metrics.gap import distances
from trainables.metrics.synthetic import SyntheticEvaluator
from trainables.models import catalogue
from trainables.models.answers import answers_of, predict
from trainables.models.classifier import Classifier
from trainables.models.weights import Weights, inspect
from trainables.scenario import NO_DATASET, Places, Scenario
from trainables.training.supervised import fit

PER_CLASS_GANS = {"dcgan": dcgan, "wgan-gp": wgan_gp}

REFERENCES = ("base", "retrained", "control")
"""Models that every trial is compared with. The last is the base model with an output switched off:
where it does well, a figure says little."""

HOLDOUT_SAMPLES = 1_000
"""Images that each hold-out generator gives."""

GAN_ATTEMPTS = 3
"""Trainings of a class' GAN, each with another seed, before it is called collapsed."""

GAN_PASS_SHARE = 0.5
"""A GAN counts as collapsed when its samples are classified as their class less than half as often
as the images that it was trained on."""

GAN_CHECK_SAMPLES = 500

SAME_TRAINING = 1e-4
"""Distance of two trainings' weights, over their norm, up to which they count as one.

The same training is the same bit for bit, and the log's own sums are rounded by some 1e-6. One that
rounds otherwise is soon another: a second thread is 2 % apart after one epoch, 7 % after thirty.
"""


class Workbench:
    """Everything that trials of `scenario` share, kept on `device` between trials.

    Artifacts that are missing come from `depot`, or the one of `places`, before they are built.
    Raises DataError for unreadable data and InvalidRequest for an unusable artifacts folder and
    for classes that are not there.
    """

    def __init__(
        self,
        scenario: Scenario,
        places: Places,
        device: torch.device,
        depot: Depot | None = None,
    ) -> None:
        self.scenario = scenario
        self.device = device
        if depot is None and places.depot is not None:
            depot = Remote(places.depot)
        self._store = Store(places.artifacts, depot)
        self._place = places.depot or str(places.artifacts)
        self._data_root = places.data
        self._seconds: dict[str, float] = {}
        self._members: list[kegnet.Generator] = []
        self._pools: dict[tuple[Access, int], Pool] = {}
        self._data: dict[Access, tuple[Samples, tuple[int, int]]] = {}
        self._together: list[str] = []
        self._trained: dict[str, nn.Module] = {}
        # The scenario may have been made by hand.
        if self.has_data:
            self._raw.resolve_classes(scenario.forget)
        else:
            indices_of(scenario.forget, self.classes, scenario.weights or scenario.dataset)

    def share_device(self, share: float) -> None:
        """Take no more than this share (0 to 1) of a GPU's memory: Ray counts fractions of a GPU,
        but keeps nobody from taking all of it. Elsewhere there is nothing to do."""
        if self.device.type == "cuda" and 0 < share < 1:
            torch.cuda.set_per_process_memory_fraction(share, self.device)

    @property
    def has_data(self) -> bool:
        """Whether there is more than the weights of the base model."""
        return self.scenario.dataset != NO_DATASET

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width in pixels)."""
        return self._raw.image_shape if self.has_data else self.scenario.image_shape or (1, 1, 1)

    @property
    def num_classes(self) -> int:
        return len(self._raw.classes) if self.has_data else self.scenario.num_classes or 1

    @cached_property
    def dataset(self) -> Dataset:
        """The three splits. Raises DataError where the scenario has none, and where a class to be
        forgotten has nothing to be measured by."""
        if not self.has_data:
            raise DataError("this scenario has no dataset, only the weights of a model")
        scenario = self.scenario
        how = scenario.validation_fraction, scenario.validation_source, self._held_out
        splits.check(self._raw, *how, scenario.forget)
        return load(scenario.dataset, self._data_root, *how).to(self.device)

    @cached_property
    def _held_out(self) -> HeldOut | None:
        """What the user says was held out from training, if anything."""
        if self.scenario.held_out is None or not self.has_data:
            return None
        return read_held_out(Path(self.scenario.held_out), self._raw)

    @property
    def _given(self) -> Weights | None:
        """The weights that the scenario names, if it does."""
        return None if self.scenario.weights is None else inspect(Path(self.scenario.weights))

    @property
    def _raw(self) -> Raw:
        """The data as read: enough to name artifacts, without tensors of all images."""
        return read(self.scenario.dataset, self._data_root)

    @cached_property
    def base(self) -> nn.Module:
        """The classifier that must forget, in evaluation mode. Never changed: clone it."""
        return self._model(self._artifact("base"))

    def learner(self) -> nn.Module:
        """A copy of the base model that computes in the scenario's precision: what a trial starts
        from."""
        model = clone(self.base)
        if self.scenario.precision == "bfloat16":
            assert isinstance(model, Classifier)
            model.autocast_to = torch.bfloat16
        return model

    @cached_property
    def retrained(self) -> nn.Module:
        """The gold standard: trained from scratch without the forget classes. Never changed."""
        return self._model(self._artifact("retrained"))

    @cached_property
    def comparison(self) -> Comparison:
        untrained = self._fresh_model(self.scenario.evaluation_seed)
        return Comparison(self.evaluator, self.retrained, untrained)

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
        return self._relearnings["retrained"]

    @cached_property
    def _relearnings(self) -> dict[str, Relearning]:
        """Of the models that every trial is compared with."""
        facts = self._artifact("relearning").facts
        return {name: Relearning(**found) for name, found in facts.items()}

    @cached_property
    def synthetic(self) -> SyntheticEvaluator:
        """Judges models by images of the hold-out generators, which no method gets to see."""
        rng = torch.Generator(self.device).manual_seed(self.scenario.evaluation_seed)
        images = [
            kegnet.draw(self._inverted(name), HOLDOUT_SAMPLES, rng) for name in recipes.holdouts()
        ]
        return SyntheticEvaluator(self.base, torch.cat(images), self.scenario.forget)

    @cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator(self.dataset, self.scenario.forget, self.scenario.evaluation_seed)

    @cached_property
    def references(self) -> dict[str, dict[str, float]]:
        """Metrics of the models "base" and "retrained", which every trial is compared with, and of
        the "control": the base model with an output switched off, where it can be.

        Empty where there is no data.
        """
        if not self.has_data:
            return {}
        facts = self._artifact("reference").facts
        return {name: dict(facts[name]) for name in REFERENCES if name in facts}

    def measured(self, expensive: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """`references`, with the expensive metrics that a study asks for and that they have."""
        if "anamnesis" not in expensive or not self.has_data:
            return self.references
        steps = self._relearnings
        found = {name: anamnesis.figures(steps[name], steps["retrained"]) for name in steps}
        return {
            name: {**figures, **found.get(name, {})} for name, figures in self.references.items()
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; numbers where there is no data."""
        return self._raw.classes if self.has_data else numbered(self.num_classes)

    def title(self, name: str) -> str:
        """What people are told of an artifact: its name, and that of the class it is of."""
        label = name.removeprefix(GAN)
        if not name.startswith(GAN) or label == ALL_CLASSES:
            return name
        return GAN + short(int(label), self.classes)

    @cached_property
    def references_by_class(self) -> dict[str, dict[str, list[float | None]]]:
        """Accuracies of the same models on each class, as in an outcome; empty without data."""
        return dict(self._artifact("reference").facts["by_class"]) if self.has_data else {}

    @cached_property
    def training_curves(self) -> dict[str, list[dict[str, float]]]:
        """ "base" and "retrained": training loss and validation accuracy (percent) of each epoch.

        Models whose training was not ours have none.
        """
        names = ("base", "retrained") if self.has_data else ("base",)
        curves = {name: self._artifact(name).facts.get("curve") for name in names}
        return {name: curve for name, curve in curves.items() if curve}

    @cached_property
    def gans(self) -> ClassGenerators:
        """One generator per class. Raises GeneratorError if any has collapsed."""
        shape, width = self.image_shape, self.scenario.gan_width
        generators: dict[int, nn.Module] = {}
        for name in recipes.gans(self.scenario, self.num_classes):
            artifact = self._artifact(name)
            _check_not_collapsed(name, artifact.facts, self.classes)
            network: nn.Module
            if self.scenario.gan == "cgan":
                network = conditional = cgan.ConditionalGenerator(shape, self.num_classes, width)
                generators |= {
                    label: conditional.of(label) for label in classes_of(name, self.num_classes)
                }
            else:
                network = generators[classes_of(name, self.num_classes)[0]] = dcgan.Generator(
                    shape, width
                )
            network.load_state_dict(artifact.tensors)
            network.to(self.device).to(memory_format=torch.channels_last).eval()
        return ClassGenerators(generators, self.base, self.classes)

    @cached_property
    def log(self) -> Mapping[str, Tensor]:
        """Parameter name -> the sum of its updates by batches that held forget samples.

        Raises InvalidRequest where the base model comes from a file, and DataError for a log that
        is of another base model.
        """
        return {name: tensor.to(self.device) for name, tensor in self._logged().tensors.items()}

    def _logged(self) -> Artifact:
        """The training log. Raises DataError if it is that of another base model."""
        log, base = self._artifact(LOG), self._artifact("base")
        if log.facts["base"] != checksum(base.tensors):
            place, name = self._stored(LOG)
            raise DataError(
                f"the training log in {place} is of another base model than the one there, which "
                f"was made anew since; remove {name}.* from there, or choose another folder "
                "(--artifacts)"
            )
        return log

    def _stored(self, name: str) -> tuple[str, str]:
        """Where artifacts lie, and what the files of this one are called."""
        kind, description = self._describe(name)
        return self._place, f"{kind}-{key_of(description)}"

    def shown(self, name: str, labels: Tensor, rng: torch.Generator) -> Tensor:
        """What the inverted generator of this name makes when it is fed `labels` (n,)."""
        generator = self._inverted(name)
        noise = torch.randn(len(labels), kegnet.LATENT, generator=rng, device=self.device)
        with torch.inference_mode():
            images: Tensor = generator(noise, labels)
        return images

    def _inverted(self, name: str) -> kegnet.Generator:
        output = self.scenario.inversion.output
        generator = kegnet.Generator(self.image_shape, self.num_classes, output)
        generator.load_state_dict(self._artifact(name).tensors)
        return generator.to(self.device).eval()

    def prerequisites(
        self, needs: frozenset[Access], expensive: tuple[str, ...] = (), generators: int = 0
    ) -> list[list[str]]:
        """Names of the artifacts that trials need, in stages; parts of one stage are independent.

        Each name is one for `prepare`. `expensive` names groups of metrics to be measured;
        `generators` is how many inverted ones a method takes that needs them. Raises InvalidRequest
        for the training log of a base model that comes from a file.
        """
        stages = [["base", "retrained"], ["reference"]] if self.has_data else [["base"], []]
        stages[-1] += self._generators(needs, generators)
        if "synthetic" in expensive:
            stages[-1] += recipes.holdouts()
        if Access.LOG in needs:
            # Recorded while the base model is trained: what makes the one makes the other.
            self._describe(LOG)
            stages[:1] = [[LOG, "retrained"], ["base"]]
        if "anamnesis" in expensive:
            stages.append(["relearning"])
        return [stage for stage in stages if stage]

    def _generators(self, needs: frozenset[Access], inverted: int) -> list[str]:
        names = []
        if Access.GANS in needs:
            names += recipes.gans(self.scenario, self.num_classes)
        if Access.INVERTED in needs:
            names += recipes.inverted(inverted)
        return names

    def is_prepared(self, name: str) -> bool:
        """Whether the artifact of this name is in the store, whole."""
        kind, description = self._describe(name)
        if not self._store.has(kind, description):
            return False
        # A log of another base model is looked at once more when it is prepared, and refused.
        return name != LOG or (self.is_prepared("base") and self._log_belongs())

    def _log_belongs(self) -> bool:
        try:
            self._logged()
        except DataError:
            return False
        return True

    def prepare(self, name: str) -> dict[str, Any]:
        """Build one prerequisite unless it is there; says what came of it.

        "origin" is cached, built or rebuilt, "seconds" what building cost, "note" what was set
        aside as damaged. Raises Diverged or GeneratorError where training fails.
        """
        artifact = self._logged() if name == LOG else self._artifact(name)
        if name.startswith(GAN):
            _check_not_collapsed(name, artifact.facts, self.classes)
        return {"origin": artifact.origin, "seconds": artifact.seconds, "note": artifact.note}

    def warm_up(self, needs: frozenset[Access], expensive: tuple[str, ...] = ()) -> None:
        """Set up now what trials of such a method share, which otherwise the first one would."""
        self.grant(needs)
        if self.has_data:
            _ = self.references, self.evaluator, self.comparison
        if "anamnesis" in expensive:
            _ = self.retrained_relearning
        if "synthetic" in expensive:
            _ = self.synthetic

    def trained_together(self, names: Sequence[str]) -> list[list[str]]:
        """These prerequisites in groups, each for one call of `prepare_together`."""
        groups: dict[str, list[str]] = {}
        for name in names:
            kind, _ = self._describe(name)
            groups.setdefault(kind if kind in ("dcgan", "kegnet") else name, []).append(name)
        return list(groups.values())

    def prepare_together(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`prepare` of each of a group. Its networks are trained as one computation, whose seconds
        count with the first of them; one that has to be trained again is trained alone. Raises as
        `prepare` does, the error of a collapsed GAN once the others are in the store."""
        self._together = [name for name in names if not self.is_prepared(name)]
        found, collapsed = {}, None
        try:
            for name in names:
                try:
                    found[name] = self.prepare(name)
                except GeneratorError as error:
                    collapsed = collapsed or error
        finally:
            self._together, self._trained = [], {}
        if collapsed is not None:
            raise collapsed
        return found

    def _one_of_several(
        self,
        name: str,
        alone: Callable[[], nn.Module],
        together: Callable[[list[str]], Sequence[nn.Module]],
    ) -> nn.Module:
        """The trained network of this name, and with it those of the group that it is in."""
        if name not in self._trained:
            if len(self._together) < 2 or name not in self._together:
                return alone()
            group = zip(self._together, together(self._together), strict=True)
            self._trained, self._together = dict(group), []
        return self._trained.pop(name)

    def grant(
        self, needs: frozenset[Access], generators: int = 0, pool: int | None = None
    ) -> Granted:
        """Access to exactly what `needs` names, and to so many inverted generators.

        With a `pool`, a seed, synthetic samples are cut from pools that are drawn once and stay
        here until another seed comes.
        """
        return Granted(
            needs,
            {
                Access.FORGET: lambda: self._kept(Access.FORGET, self.dataset.train.of),
                Access.RETAIN: lambda: self._kept(Access.RETAIN, self.dataset.train.without),
                Access.GANS: lambda: self._pooled(Access.GANS, self.gans, pool),
                Access.LOG: lambda: self.log,
                Access.INVERTED: lambda: self._ensemble(generators, pool),
            },
            self.scenario.forget,
            self.num_classes,
            self.image_shape,
            self.classes,
        )

    def _kept(self, kind: Access, cut: Callable[[tuple[int, ...]], Samples]) -> Samples:
        """What `cut` makes of the forget classes: once for all trials, and anew after a method that
        has changed it in place."""
        held = self._data.get(kind)
        if held is None or held[1] != _versions(held[0]):
            samples = cut(self.scenario.forget)
            self._data[kind] = held = samples, _versions(samples)
        return held[0]

    def _ensemble(self, count: int, pool: int | None) -> Sampler:
        for name in recipes.inverted(count)[len(self._members) :]:
            self._members.append(self._inverted(name))
        members = self._members[:count] if pool is None else self._members
        return self._pooled(Access.INVERTED, Ensemble(members, self.base), pool)

    def _pooled(self, kind: Access, sampler: Sampler, seed: int | None) -> Sampler:
        if seed is None:
            return sampler
        key = (kind, seed)
        if key not in self._pools:
            self._pools.clear()
            self._pools[key] = Pool(sampler, seed, self.device)
        return self._pools[key]

    def settle_draws(self) -> float:
        """Seconds of drawing that trials were spared by pools since this was last called; negative
        where a trial drew for others too."""
        return sum(pool.settle() for pool in self._pools.values())

    def prepare_seconds(self, needs: frozenset[Access], generators: int = 0) -> float:
        """What the artifacts behind `needs`, once granted, cost when they were built (seconds)."""
        parts = self._generators(needs, generators)
        if Access.LOG in needs:
            parts.append(LOG)
        # What was granted has been fetched, and its cost noted, already.
        return sum(self._seconds[part] for part in parts)

    def _artifact(self, name: str, build: Callable[[], Built] | None = None) -> Artifact:
        """The artifact of this name; what is missing is built in its own way, or by `build`."""
        builders: dict[str, Callable[[], Built]] = {
            "base": self._obtain_base,
            "retrained": self._retrain,
            LOG: self._record_log,
            "reference": self._measure_references,
            "relearning": self._measure_relearning,
        }
        if name.startswith(GAN):
            builders[name] = partial(self._train_gan, name)
        elif name not in builders:
            builders[name] = partial(self._invert, name)
        kind, description = self._describe(name)
        artifact = self._store.obtain(kind, description, build or builders[name])
        self._seconds[name] = artifact.seconds
        return artifact

    @property
    def _origin(self) -> Origin:
        dataset = self._raw.fingerprint if self.has_data else None
        weights = None if self._given is None else self._given.fingerprint
        held_out = None if self._held_out is None else self._held_out.fingerprint
        return Origin(dataset, weights, self.image_shape, held_out)

    def _describe(self, name: str) -> tuple[str, dict[str, Any]]:
        return recipes.describe(name, self.scenario, self._origin)

    def _model(self, artifact: Artifact) -> nn.Module:
        model = self._fresh_model(seed=0)
        model.load_state_dict(artifact.tensors)
        return model.eval()

    def _fresh_model(self, seed: int) -> nn.Module:
        """On the device, in the layout in which it is fast."""
        scenario = self.scenario
        shape, classes = self.image_shape, self.num_classes
        model = catalogue.build(scenario.model, shape, classes, scenario.width, seed)
        layout = catalogue.memory_format(scenario.model, shape)
        return model.to(self.device).to(memory_format=layout)

    def _obtain_base(self) -> Built:
        """Trained, or read from the file of weights that the scenario names."""
        if self._given is None:
            return self._train(self.dataset.train, self.scenario.seed)
        scenario = self.scenario
        shape, classes = self.image_shape, self.num_classes
        catalogue.check_weights(scenario.model, shape, classes, scenario.width, self._given)
        model = self._fresh_model(seed=0)
        content = self._given.path.read_bytes()
        if not hashlib.sha256(content).hexdigest().startswith(self._given.fingerprint):
            raise DataError(f"{self._given.path}: was changed while it was read; try again")
        model.load_state_dict(load_tensors(content))
        return _state(model), {}

    def _invert(self, name: str) -> Built:
        """A generator inverted from the base model; its inversion is handed no data but the few
        samples of the few-shot aid, where the scenario asks for it."""
        recipe = self.scenario.inversion
        seed = inversion_seed(name, self.scenario)
        aid = self._few_samples(recipe.few_shot) if recipe.few_shot else None
        shape, classes = self.image_shape, self.num_classes
        what = self.base, shape, classes, recipe
        generator = self._one_of_several(
            name,
            lambda: kegnet.invert(*what, seed, aid),
            lambda names: kegnet.invert_together(
                *what, [inversion_seed(each, self.scenario) for each in names], aid
            ),
        )
        rng = torch.Generator(self.device).manual_seed(seed)
        with torch.inference_mode():
            noise, labels = kegnet.draw_inputs(HOLDOUT_SAMPLES, classes, rng)
            agreed = accuracy(self.base(generator(noise, labels)), labels)
        return _state(generator), {"classified_as_asked": agreed}

    def _few_samples(self, count: int) -> Samples:
        """The first `count` training samples of each class, in an order fixed by the seed."""
        train = self.dataset.train
        rng = torch.Generator().manual_seed(self.scenario.seed)
        order = torch.randperm(len(train), generator=rng).to(train.labels.device)
        labels = train.labels[order]
        kept = [order[labels == label][:count] for label in range(self.num_classes)]
        return train.where(torch.cat(kept))

    def _retrain(self) -> Built:
        retain = self.dataset.train.without(self.scenario.forget)
        # Another seed: retraining starts from a fresh initialisation, not from the base model's.
        return self._train(retain, self.scenario.seed + 1)

    def _measure_references(self) -> Built:
        facts: dict[str, Any] = {"by_class": {}}
        models = {"retrained": self.retrained, "base": self.base}
        if (control := self._control()) is not None:
            models["control"] = control
        for name, model in models.items():
            answers = answers_of(model)
            metrics, facts["by_class"][name] = self.evaluator.measure(answers)
            facts[name] = {**metrics, **self.comparison(model, answers)}
            facts[name] |= distances(metrics, facts["retrained"])
        return {}, facts

    def _measure_relearning(self) -> Built:
        # Not the control's: with an output switched off it would take all the steps there are.
        models = {"retrained": self.retrained, "base": self.base}
        return {}, {name: asdict(self.relearn(model)) for name, model in models.items()}

    def _control(self) -> nn.Module | None:
        """What forgets nothing and has good figures; None of a model that cannot be masked."""
        phases = Mask().unlearn(
            clone(self.base), self.grant(Mask.needs), torch.Generator(self.device)
        )
        with contextlib.suppress(InvalidRequest):
            return next(phases)
        return None

    def _record_log(self) -> Built:
        """The base model's training, with the updates of the batches that held forget samples
        summed up (Graves et al. 2020).

        Where the base model is missing, it is this training's. Where it is there, it is trained
        once more for the log alone, and DataError raised if something else comes of it.

        One sum answers this forget request. A log that can answer every request keeps the updates
        of all batches; what that takes is in the facts, in bytes.
        """
        scenario = self.scenario
        wanted = torch.tensor(scenario.forget, device=self.device)
        model = self._fresh_model(scenario.seed)
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

        def train() -> Built:
            return self._train(self.dataset.train, scenario.seed, model, record)

        base = self._artifact("base", train).tensors
        if not batches["all"]:
            train()
            self._check_trained_alike(model, base)
        size = sum(value.numel() * value.element_size() for value in summed.values())
        return summed, {
            "base": checksum(base),
            "batches": batches["all"],
            "batches_with_forget_samples": batches["with_forget_samples"],
            "bytes": size,
            "bytes_of_sums_per_class": size * self.num_classes,
            "bytes_of_a_full_log": size * batches["all"],
        }

    def _check_trained_alike(self, model: nn.Module, base: Mapping[str, Tensor]) -> None:
        """Raises DataError if the weights of `model` are not those of the base model."""
        pairs = [(p.detach().cpu().double(), base[n].double()) for n, p in model.named_parameters()]
        apart = sum(float((own - theirs).square().sum()) for own, theirs in pairs) ** 0.5
        distance = apart / sum(float(theirs.square().sum()) for _, theirs in pairs) ** 0.5
        if not distance <= SAME_TRAINING:
            place, name = self._stored("base")
            raise DataError(
                f"the base model in {place} was trained otherwise than here and now (other "
                f"threads, device or versions? its weights are {100 * distance:.2g} % apart), so "
                "that its training log cannot be made; choose another folder (--artifacts), or "
                f"remove {name}.* from there, so that both are made together"
            )

    def _train(
        self,
        samples: Samples,
        seed: int,
        model: nn.Module | None = None,
        after_step: Callable[[Tensor], None] | None = None,
    ) -> Built:
        """The thesis' recipe (4.3.1): Adam on cross-entropy. The curve goes into the facts."""
        scenario = self.scenario
        model = self._fresh_model(seed) if model is None else model
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

    def _train_gan(self, name: str) -> Built:
        """The first of a few trainings of this GAN that does not collapse; the best one if all do.
        A GAN is as good as the pass rate of its worst class."""
        labels = classes_of(name, self.num_classes)
        best: tuple[float, Mapping[str, Tensor]] = (-1.0, {})
        rates = []
        for attempt in range(GAN_ATTEMPTS):
            again = partial(self._gan, name, attempt)
            # Which ones are to be trained again shows only after the first attempt.
            first = partial(self._one_of_several, name, again, self._dcgans)
            network = again() if attempt else first()
            rng = torch.Generator(self.device).manual_seed(self._gan_seed(labels, attempt))
            rates.append(min(self.pass_rate(network, label, rng) for label in labels))
            if rates[-1] > best[0]:
                best = (rates[-1], _state(network))
            if rates[-1] >= GAN_PASS_SHARE:
                break
        return best[1], {"collapsed": best[0] < GAN_PASS_SHARE, "shares": rates}

    def _gan_seed(self, labels: tuple[int, ...], attempt: int) -> int:
        """Seeds of classes and attempts never meet."""
        return (self.scenario.seed * 100_003 + labels[0]) * GAN_ATTEMPTS + attempt

    def _gan(self, name: str, attempt: int) -> nn.Module:
        scenario, labels = self.scenario, classes_of(name, self.num_classes)
        samples = self.dataset.train.of(labels)
        how = (scenario.gan_steps, self._gan_seed(labels, attempt), scenario.gan_width)
        if scenario.gan == "cgan":
            return cgan.train(samples, self.num_classes, *how)
        network: nn.Module = PER_CLASS_GANS[scenario.gan].train(samples, *how)
        return network

    def _dcgans(self, names: list[str]) -> Sequence[nn.Module]:
        """First attempts at all of these."""
        labels = [classes_of(name, self.num_classes) for name in names]
        samples = [self.dataset.train.of(each) for each in labels]
        seeds = [self._gan_seed(each, 0) for each in labels]
        scenario = self.scenario
        return dcgan.train_together(samples, scenario.gan_steps, seeds, scenario.gan_width)

    def pass_rate(self, network: nn.Module, label: int, rng: torch.Generator) -> float:
        """How often the base model classifies samples of a GAN as `label`, over how often it does
        so with training images of the class. Validation images, which steer a search, have no say
        in what a method is given."""
        generator = network.of(label) if isinstance(network, cgan.ConditionalGenerator) else network
        share = share_classified_as(self.base, generator, label, GAN_CHECK_SAMPLES, rng)
        real = self.dataset.train.of((label,))
        known = accuracy(predict(self.base, real.images), real.labels) / 100
        return share / max(known, 1e-3)


@lru_cache(maxsize=1)
def shared_workbench(scenario: Scenario, places: Places, depot: Depot | None = None) -> Workbench:
    """This process' workbench, on its GPU if it has one; kept until another scenario comes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Workbench(scenario, places, device, depot)


def use_threads(count: int) -> None:
    """CPU threads of this process. The last digits of a trial's numbers depend on them."""
    torch.set_num_threads(count)


def prepare_part(
    scenario: Scenario,
    places: Places,
    names: Sequence[str],
    threads: int,
    shipment: Shipment | None = None,
) -> dict[str, dict[str, Any]]:
    """`Workbench.prepare_together` in a process of its own, with this many CPU threads; from the
    shipment where the process may be on another machine."""
    use_threads(threads)
    here = (scenario, places, None) if shipment is None else unpack(shipment)
    return shared_workbench(*here).prepare_together(names)


def save_model(model: nn.Module, path: Path, image_size: tuple[int, ...]) -> None:
    """Write weights and running statistics as safetensors, whole or not at all.

    The file notes the size of the images (height and width in pixels), which weights do not show.
    Raises OSError.
    """
    notes = {"image_size": json.dumps(list(image_size))}
    write_whole(path, save_tensors(_state(model), metadata=notes))


def clone(model: nn.Module) -> nn.Module:
    """A copy that shares no tensor with `model`."""
    return copy.deepcopy(model)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }


def _versions(samples: Samples) -> tuple[int, int]:
    """Numbers that torch raises by one whenever a tensor is changed in place."""
    return samples.images._version, samples.labels._version


def _check_not_collapsed(name: str, facts: Mapping[str, Any], names: Sequence[str]) -> None:
    if facts["collapsed"]:
        label = name.removeprefix(GAN)
        whose = "all classes" if label == ALL_CLASSES else labelled([int(label)], names)
        shares = ", ".join(f"{share:.0%}" for share in facts["shares"])
        raise GeneratorError(
            f"the GAN of {whose} collapsed in each of "
            f"{len(facts['shares'])} trainings ({shares} of its samples are classified as their "
            f"class, over the share of real ones; {GAN_PASS_SHARE:.0%} is needed); train for "
            "longer or shorter (scenario.gan_steps), or choose another seed or --gan"
        )
