"""The control of a comparison: switches an output off, and forgets nothing.

By accuracy, membership and relearning alike this is as good as unlearning gets, so a figure that it
does well in is no evidence. The features know the class as before (`trainables.attacks.probe`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from trainables.access import Access, Granted
from trainables.errors import InvalidRequest
from trainables.models.answers import last_layer

LOWERED = 1e4
"""What is taken off an output: no other term comes near."""


@dataclass(frozen=True)
class Mask:
    """The forget classes' outputs are never the largest; nothing else changes."""

    needs: ClassVar[frozenset[Access]] = frozenset()
    control: ClassVar[bool] = True

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        bias = getattr(last_layer(model), "bias", None)
        if bias is None or len(bias) != access.num_classes:
            raise InvalidRequest("the model's last layer has no bias for each class to lower")
        with torch.no_grad():
            bias[list(access.forget_classes)] -= LOWERED
        yield model
