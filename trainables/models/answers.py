"""What a model answers to images, and the features that its last layer makes the answer of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from trainables.errors import Diverged

BATCH = 1_024


class Seen(NamedTuple):
    """What a model makes of images: logits (n, classes), and the features (n, d) that its last
    layer makes them of; None of a model that has no such layer."""

    logits: Tensor
    features: Tensor | None


@torch.inference_mode()
def look(model: nn.Module, images: Tensor) -> Seen:
    """What `model` sees in `images` in evaluation mode; each layer's mode is left as it was.

    Raises Diverged for logits that are not finite, which finite weights can give.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with features_of(model) as features:
        logits = torch.cat([model(part) for part in images.split(BATCH)])
    for module, was_training in modes:
        module.training = was_training
    return Seen(finite(logits), torch.cat(features) if features else None)


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The logits (n, classes) of `look`."""
    return look(model, images).logits


@contextmanager
def features_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects, from each pass through the body, what the last layer of `model` is given: (n, d),
    places in an image averaged."""
    found: list[Tensor] = []

    def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features = inputs[0].detach()
        found.append(features.flatten(2).mean(dim=2) if features.dim() > 2 else features)

    last = last_layer(model)
    hook = None if last is None else last.register_forward_pre_hook(note)
    try:
        yield found
    finally:
        if hook is not None:
            hook.remove()


def finite(logits: Tensor) -> Tensor:
    """The same. Raises Diverged for any that are not finite."""
    if not bool(logits.isfinite().all()):
        raise Diverged("the outputs became non-finite")
    return logits


T = TypeVar("T")


class Once(Generic[T]):
    """`ask`, which is asked for once for each set of images (n, c, h, w). Sets are told apart by
    identity, so the same tensor must be handed in again."""

    def __init__(self, ask: Callable[[Tensor], T]) -> None:
        self._ask = ask
        self._given: list[tuple[Tensor, T]] = []

    def __call__(self, images: Tensor) -> T:
        for asked, given in self._given:
            if asked is images:
                return given
        self._given.append((images, self._ask(images)))
        return self._given[-1][1]


class Answers:
    """What a model sees, asked for once for each set of images, whoever wants to look at it.

    `ask` gives it for images (n, c, h, w); see `Once`.
    """

    def __init__(self, ask: Callable[[Tensor], Seen]) -> None:
        self._seen = Once(ask)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        return self._seen(images).logits

    def features(self, images: Tensor) -> Tensor | None:
        """Features (n, d), as in `Seen`."""
        return self._seen(images).features


def answers_of(model: nn.Module) -> Answers:
    """What `model` answers, as long as it stays as it is. Asking raises Diverged as `predict`."""
    return Answers(partial(look, model))


def last_layer(model: nn.Module) -> nn.Module | None:
    """The last layer that a model registers: what makes its logits."""
    layers = [
        module
        for module in model.modules()
        if any(parameter.dim() >= 2 for parameter in module.parameters(recurse=False))
    ]
    return layers[-1] if layers else None
