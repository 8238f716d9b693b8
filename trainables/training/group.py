"""Networks of one architecture that are trained at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from trainables.training.wide import Wide


class Group:
    """`models` in training mode, several as slices of one wide network, a single one as it is.

    `through` is what is called of them with their inputs, their `forward` unless it is given.
    """

    def __init__(
        self, models: Sequence[nn.Module], through: Callable[..., Tensor] = nn.Module.__call__
    ) -> None:
        self._through = through
        self._wide = Wide(models, through) if len(models) > 1 else None
        self._network = models[0] if self._wide is None else self._wide.network

    def parameters(self) -> list[nn.Parameter]:
        """What an optimiser trains."""
        return list(self._network.parameters())

    def __call__(self, *inputs: Tensor, frozen: bool = False) -> Tensor:
        """Outputs (k, n, ...) of each model on its own part of `inputs`, each (k, n, ...); several
        models take one. Gradients do not reach weights that are `frozen`."""
        self._network.requires_grad_(not frozen)
        if self._wide is None:
            outputs = self._through(self._network, *(each[0] for each in inputs))[None]
        else:
            (own,) = inputs
            outputs = self._wide(own)
        self._network.requires_grad_(True)
        return outputs
