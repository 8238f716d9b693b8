"""What trials of one scenario share on one device: data, base and retrained model, generators.

Each expensive part is an artifact: when it is first asked for it is found, or built as its kind
declares (`trainables.artifacts`), and kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainables.access import Access, Granted
from trainables.artifacts import gans, inversions, reference
from trainables.artifacts.files import write_whole
from trainables.artifacts.kind import Asked
from trainables.artifacts.kinds import wanted
from trainables.artifacts.materials import Materials
from trainables.artifacts.shelf import Shelf
from trainables.artifacts.shipping import Shipment, unpack
from trainables.artifacts.store import Depot
from trainables.data.dataset import Dataset
from trainables.generators.sampling import ClassGenerators
from trainables.lending import Lending
from trainables.metrics import anamnesis
from trainables.metrics.anamnesis import Relearning
from trainables.metrics.compare import Comparison
from trainables.metrics.evaluate import Evaluator
from trainables.metrics.synthetic import SyntheticEvaluator
from trainables.models.classifier import Classifier
from trainables.models.copies import clone, state_of
from trainables.scenario import Places, Scenario


class Workbench:
    """Everything that trials of `scenario` share, kept on `device` between trials; `shelf` holds
    the artifacts among it.

    Raises DataError for unreadable data and InvalidRequest for an unusable artifacts folder and
    for classes that are not there. Artifacts that are missing come from `depot`, or the one of
    `places`, before they are built.
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
        self._materials = Materials(scenario, places.data, device)
        self.shelf = Shelf(self._materials, places, depot)
        self._lending = Lending(self.shelf)

    def share_device(self, share: float) -> None:
        """Take no more than this share (0 to 1) of a GPU's memory: Ray counts fractions of a GPU,
        but keeps nobody from taking all of it. Elsewhere there is nothing to do."""
        if self.device.type == "cuda" and 0 < share < 1:
            torch.cuda.set_per_process_memory_fraction(share, self.device)

    @property
    def has_data(self) -> bool:
        """Whether there is more than the weights of the base model."""
        return self.scenario.has_data

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width in pixels)."""
        return self._materials.image_shape

    @property
    def num_classes(self) -> int:
        return self._materials.num_classes

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; numbers where there is no data."""
        return self._materials.classes

    @property
    def dataset(self) -> Dataset:
        """The three splits. Raises DataError where the scenario has none, and where a class to be
        forgotten has nothing to be measured by."""
        return self._materials.dataset

    @property
    def base(self) -> nn.Module:
        """The classifier that must forget, in evaluation mode. Never changed: clone it."""
        model: nn.Module = self.shelf.load("base")
        return model

    def learner(self) -> nn.Module:
        """A copy of the base model that computes in the scenario's precision: what a trial starts
        from."""
        model = clone(self.base)
        if self.scenario.precision == "bfloat16":
            assert isinstance(model, Classifier)
            model.autocast_to = torch.bfloat16
        return model

    @property
    def retrained(self) -> nn.Module:
        """The gold standard: trained from scratch without the forget classes. Never changed."""
        model: nn.Module = self.shelf.load("retrained")
        return model

    @property
    def gans(self) -> ClassGenerators:
        """One generator per class. Raises GeneratorError if any has collapsed."""
        return self.shelf.keep(gans.sampler)

    @property
    def log(self) -> Mapping[str, Tensor]:
        """Parameter name -> the sum of its updates by batches that held forget samples.

        Raises InvalidRequest where the base model comes from a file, and DataError for a log that
        is of another base model.
        """
        log: Mapping[str, Tensor] = self.shelf.load("log")
        return log

    @property
    def evaluator(self) -> Evaluator:
        return self.shelf.keep(reference.evaluator)

    @property
    def comparison(self) -> Comparison:
        return self.shelf.keep(reference.comparison)

    @property
    def synthetic(self) -> SyntheticEvaluator:
        """Judges models by images of the hold-out generators, which no method gets to see."""
        return self.shelf.keep(inversions.synthetic)

    def relearn(self, model: nn.Module) -> Relearning:
        """How soon a copy of `model` knows the forget classes again (eq. 10)."""
        return reference.relearned(self.shelf, model)

    @property
    def retrained_relearning(self) -> Relearning:
        """The same of the retrained model, measured once per scenario."""
        found: Relearning = self.shelf.load("relearning")["retrained"]
        return found

    @property
    def references(self) -> dict[str, dict[str, float]]:
        """Metrics of the models "base" and "retrained", which every trial is compared with, and of
        the "control": the base model with an output switched off, where it can be.

        Empty where there is no data.
        """
        return self._reference.metrics if self.has_data else {}

    @property
    def references_by_class(self) -> dict[str, dict[str, list[float | None]]]:
        """Accuracies of the same models on each class, as in an outcome; empty without data."""
        return self._reference.by_class if self.has_data else {}

    @property
    def _reference(self) -> reference.Reference:
        found: reference.Reference = self.shelf.load("reference")
        return found

    def measured(self, expensive: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """`references`, with the expensive metrics that a study asks for and that they have."""
        if "anamnesis" not in expensive or not self.has_data:
            return self.references
        steps: Mapping[str, Relearning] = self.shelf.load("relearning")
        found = {name: anamnesis.figures(steps[name], steps["retrained"]) for name in steps}
        return {
            name: {**figures, **found.get(name, {})} for name, figures in self.references.items()
        }

    @property
    def training_curves(self) -> dict[str, list[dict[str, float]]]:
        """ "base" and "retrained": training loss and validation accuracy (percent) of each epoch.

        Models whose training was not ours have none.
        """
        names = ("base", "retrained") if self.has_data else ("base",)
        curves = {name: self.shelf.obtain(name).facts.get("curve") for name in names}
        return {name: curve for name, curve in curves.items() if curve}

    def title(self, name: str) -> str:
        """What people are told of an artifact: its name, and that of the class it is of."""
        return gans.title(name, self.classes)

    def prerequisites(
        self, needs: frozenset[Access], expensive: tuple[str, ...] = (), generators: int = 0
    ) -> list[list[str]]:
        """Names of the artifacts that trials need, in stages; parts of one stage are independent.

        Each name is one for `prepare`. `expensive` names groups of metrics to be measured;
        `generators` is how many inverted ones a method takes that needs them. Raises InvalidRequest
        for the training log of a base model that comes from a file.
        """
        return self.shelf.stages(self._asked(needs, expensive, generators))

    def is_prepared(self, name: str) -> bool:
        """`Shelf.is_prepared`: whether the artifact of this name is there, whole."""
        return self.shelf.is_prepared(name)

    def prepare(self, name: str) -> dict[str, Any]:
        """`Shelf.prepare`: build one prerequisite unless it is there; what came of it."""
        return self.shelf.prepare(name)

    def trained_together(self, names: Sequence[str]) -> list[list[str]]:
        """These prerequisites in groups, each for one call of `prepare_together`."""
        return self.shelf.groups(names)

    def prepare_together(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """`Shelf.prepare_together`: `prepare` of each of a group, as one computation."""
        return self.shelf.prepare_together(names)

    def prepare_seconds(self, needs: frozenset[Access], generators: int = 0) -> float:
        """What the artifacts behind `needs` cost when they were built (seconds)."""
        always = wanted(self._asked(frozenset()))
        names = wanted(self._asked(needs, (), generators))
        return self.shelf.seconds([name for name in names if name not in always])

    def _asked(
        self, needs: frozenset[Access], expensive: tuple[str, ...] = (), generators: int = 0
    ) -> Asked:
        return Asked(self.scenario, self.num_classes, needs, expensive, generators)

    def warm_up(self, needs: frozenset[Access], expensive: tuple[str, ...] = ()) -> None:
        """Set up now what trials of such a method share, which otherwise the first one would."""
        self.grant(needs)
        if self.has_data:
            _ = self.references, self.evaluator, self.comparison
        if "anamnesis" in expensive:
            _ = self.retrained_relearning
        if "synthetic" in expensive:
            _ = self.synthetic

    def grant(
        self, needs: frozenset[Access], generators: int = 0, pool: int | None = None
    ) -> Granted:
        """Access to exactly what `needs` names, and to so many inverted generators.

        With a `pool`, a seed, synthetic samples are cut from pools that are drawn once and stay
        here until another seed comes.
        """
        return self._lending.grant(needs, generators, pool)

    def settle_draws(self) -> float:
        """Seconds of drawing that trials were spared by pools since this was last called; negative
        where a trial drew for others too."""
        return self._lending.settle_draws()


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
    write_whole(path, save_tensors(state_of(model), metadata=notes))
