"""What the artifacts of a scenario are made from: its data and the weights that it names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from trainables.data import splits
from trainables.data.classes import indices_of, numbered
from trainables.data.dataset import Dataset, load
from trainables.data.sources import Raw, read
from trainables.data.splits import HeldOut, read_held_out
from trainables.errors import DataError
from trainables.models import catalogue
from trainables.models.weights import Weights, inspect
from trainables.scenario import Scenario


@dataclass(frozen=True)
class Origin:
    """What a scenario's artifacts are made from: fingerprints of its dataset and of the base
    model's weights, where it has them, (channels, height, width) of its images, and a fingerprint
    of what the user says was held out from training."""

    dataset: str | None
    weights: str | None
    image_shape: tuple[int, int, int]
    held_out: str | None = None


class Materials:
    """The data and the given weights of `scenario`, on `device`; read when they are asked for.

    Raises DataError for unreadable data and InvalidRequest for classes that are not there.
    """

    def __init__(self, scenario: Scenario, data_root: Path, device: torch.device) -> None:
        self.scenario = scenario
        self.device = device
        self._data_root = data_root
        # The scenario may have been made by hand.
        if scenario.has_data:
            self._raw.resolve_classes(scenario.forget)
        else:
            indices_of(scenario.forget, self.classes, scenario.weights or scenario.dataset)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width in pixels)."""
        given = self.scenario
        return self._raw.image_shape if given.has_data else given.image_shape or (1, 1, 1)

    @property
    def num_classes(self) -> int:
        given = self.scenario
        return len(self._raw.classes) if given.has_data else given.num_classes or 1

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; numbers where there is no data."""
        return self._raw.classes if self.scenario.has_data else numbered(self.num_classes)

    @cached_property
    def dataset(self) -> Dataset:
        """The three splits. Raises DataError where the scenario has none, and where a class to be
        forgotten has nothing to be measured by."""
        scenario = self.scenario
        if not scenario.has_data:
            raise DataError("this scenario has no dataset, only the weights of a model")
        how = scenario.validation_fraction, scenario.validation_source, self._held_out
        splits.check(self._raw, *how, scenario.forget)
        return load(scenario.dataset, self._data_root, *how).to(self.device)

    @property
    def given(self) -> Weights | None:
        """The weights that the scenario names, if it does."""
        return None if self.scenario.weights is None else inspect(Path(self.scenario.weights))

    @property
    def origin(self) -> Origin:
        dataset = self._raw.fingerprint if self.scenario.has_data else None
        weights = None if self.given is None else self.given.fingerprint
        held_out = None if self._held_out is None else self._held_out.fingerprint
        return Origin(dataset, weights, self.image_shape, held_out)

    def fresh_model(self, seed: int) -> nn.Module:
        """An untrained classifier on the device, in the layout in which it is fast."""
        scenario, shape = self.scenario, self.image_shape
        model = catalogue.build(scenario.model, shape, self.num_classes, scenario.width, seed)
        layout = catalogue.memory_format(scenario.model, shape)
        return model.to(self.device).to(memory_format=layout)

    @cached_property
    def _held_out(self) -> HeldOut | None:
        """What the user says was held out from training, if anything."""
        if self.scenario.held_out is None or not self.scenario.has_data:
            return None
        return read_held_out(Path(self.scenario.held_out), self._raw)

    @property
    def _raw(self) -> Raw:
        """The data as read: enough to name artifacts, without tensors of all images."""
        return read(self.scenario.dataset, self._data_root)
