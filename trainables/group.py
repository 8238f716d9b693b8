"""Networks of one architecture that are trained at once, as one batched computation."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


class Group:
    """`models`, all in one mode, with their weights stacked, so that a step of all is one step of a
    wider network (Wang et al. 2021, "Horizontally Fused Training Array"). `unstack` hands each its
    weights back. A single one is called as it is.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._models = list(models)
        if len(models) > 1:
            self._stacked, self._buffers = stack_module_state(self._models)
            self._skeleton = copy.deepcopy(models[0])

    def __len__(self) -> int:
        return len(self._models)

    def parameters(self) -> list[Tensor]:
        """What an optimiser trains."""
        if len(self) == 1:
            return list(self._models[0].parameters())
        return list(self._stacked.values())

    def __call__(self, *inputs: Tensor, frozen: bool = False) -> Tensor:
        """Outputs (k, ...) of each model on its own part of `inputs`, each (k, ...). Gradients do
        not reach weights that are `frozen`."""
        if len(self) == 1:
            model = self._models[0].requires_grad_(not frozen)
            outputs: Tensor = model(*(each[0] for each in inputs))[None]
            model.requires_grad_(True)
            return outputs
        weights = {n: w.detach() if frozen else w for n, w in self._stacked.items()}

        def forward(weights: dict[str, Tensor], buffers: dict[str, Tensor], *own: Tensor) -> Tensor:
            answer: Tensor = functional_call(self._skeleton, (weights, buffers), own)
            return answer

        outputs = vmap(forward)(weights, self._buffers, *inputs)
        return outputs

    @torch.no_grad()
    def unstack(self) -> None:
        """Give each model its weights and statistics."""
        if len(self) == 1:
            return
        for position, model in enumerate(self._models):
            for name, weight in model.named_parameters():
                weight.copy_(self._stacked[name][position])
            for name, statistic in model.named_buffers():
                statistic.copy_(self._buffers[name][position])
