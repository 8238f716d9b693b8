"""What the classifiers have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainables.errors import InvalidRequest


class Classifier(nn.Module):
    """Convolutions, their maps pooled to one value a channel, one linear layer.

    Maps (n, c, h, w) to logits (n, num_classes). Where `autocast_to` names a dtype, convolutions
    are computed in it, from weights that stay as they are (Micikevicius et al. 2018, "Mixed
    Precision Training"); the linear layer is not, so that losses see logits in full precision.
    Copies take it along.
    """

    features: nn.Module
    classifier: nn.Linear
    autocast_to: torch.dtype | None = None

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pooled(self.maps(images)))
        return logits

    def maps(self, images: Tensor) -> Tensor:
        """What the convolutions give (n, channels, h, w), in the images' dtype."""
        if self.autocast_to is None:
            maps: Tensor = self.features(images)
            return maps
        # A step uses each weight once, so keeping what it is cast to gains nothing.
        with torch.autocast(images.device.type, self.autocast_to, cache_enabled=False):
            maps = self.features(images)
        return maps.to(images.dtype)

    def pooled(self, maps: Tensor) -> Tensor:
        """(n, channels) of maps (n, channels, h, w), each channel for itself."""
        return maps.mean(dim=(2, 3))


@contextmanager
def full_precision(model: nn.Module) -> Iterator[None]:
    """Has `model` compute in its weights' own precision for as long as the body runs."""
    before = getattr(model, "autocast_to", None)
    if before is None:
        yield
        return
    assert isinstance(model, Classifier)
    model.autocast_to = None
    try:
        yield
    finally:
        model.autocast_to = before


def scaled(channels: int, width: float, model: str) -> int:
    """Channels of a layer that has this many at width 1. Raises InvalidRequest where none are left,
    in a model's first and narrowest layer."""
    found = round(channels * width)
    if found < 1:
        least = math.ceil(1000 * 0.5 / channels) / 1000
        raise InvalidRequest(f"width {width:g} leaves {model} no channels; possible: {least:g} up")
    return found
