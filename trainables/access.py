"""What a method may touch (thesis, Table 1), enforced rather than promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from torch import Tensor

from trainables.data.dataset import Samples
from trainables.errors import AccessDenied
from trainables.generators.sampling import Sampler


class Access(StrEnum):
    """The things that a method can need."""

    FORGET = "forget data"
    RETAIN = "retain data"
    GANS = "per-class GANs"
    LOG = "training log"
    INVERTED = "inverted generators"


ZERO_SHOT = frozenset({Access.INVERTED})
"""What follows from the base model alone. A method that needs no more than this needs no data."""


class Granted:
    """Exactly what a method declares in `needs`; reaching for anything else raises AccessDenied.

    `forget_classes`, `num_classes` and `image_shape` (channels, height, width) say what is asked,
    `class_names` what to call the classes, where that is known; they are no data. What is granted
    is fetched at once, so that loading it is not timed as unlearning. Trials share it, so a method
    leaves it as it is. A method may `report` facts about its run.
    """

    def __init__(
        self,
        needs: frozenset[Access],
        fetch: Mapping[Access, Callable[[], Any]],
        forget_classes: tuple[int, ...],
        num_classes: int,
        image_shape: tuple[int, int, int],
        class_names: tuple[str, ...] = (),
    ) -> None:
        self.forget_classes = forget_classes
        self.num_classes = num_classes
        self.image_shape = image_shape
        self.class_names = class_names
        self.reported: dict[str, Any] = {}
        self._held = {access: fetch[access]() for access in needs}

    @property
    def retain_classes(self) -> tuple[int, ...]:
        return tuple(c for c in range(self.num_classes) if c not in self.forget_classes)

    @property
    def forget(self) -> Samples:
        """D_f: the training samples of the forget classes."""
        held: Samples = self._get(Access.FORGET)
        return held

    @property
    def retain(self) -> Samples:
        """D_r: the training samples of all other classes."""
        held: Samples = self._get(Access.RETAIN)
        return held

    @property
    def gans(self) -> Sampler:
        """One trained GAN per class, whose samples the original model calls so."""
        held: Sampler = self._get(Access.GANS)
        return held

    @property
    def log(self) -> Mapping[str, Tensor]:
        """Parameter name -> the sum of its updates by the batches that held forget samples, from
        the training of the base model."""
        held: Mapping[str, Tensor] = self._get(Access.LOG)
        return held

    @property
    def inverted(self) -> Sampler:
        """An ensemble of generators, inverted from the original model, which labels what they make;
        numbered from 0."""
        held: Sampler = self._get(Access.INVERTED)
        return held

    def report(self, **facts: Any) -> None:
        """Have these facts (values that JSON can hold) recorded with the trial."""
        self.reported |= facts

    def _get(self, access: Access) -> Any:
        if access not in self._held:
            declared = ", ".join(sorted(self._held)) or "nothing"
            raise AccessDenied(f"the method reached for {access}; it declares {declared}")
        return self._held[access]
