"""Several networks of one architecture as one wide network, each of them a slice of it.

Convolutions become grouped ones, batch norms have all networks' channels side by side, linear
layers are one batched product (Wang et al. 2021, "Horizontally Fused Training Array"). So a step
of all takes the kernels of a step of one, and no network has a say in what another comes to.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainables.models.classifier import Classifier
from trainables.training.learning import BatchNorm, set_training


class Wide:
    """`models` as one network, whose tensors theirs are slices of from here on: what changes the
    one changes the other.

    They are made of convolutions, also transposed ones, batch norms, linear layers, and of what
    treats channels alike; `through` is what is called of them, their `forward` unless it is given.
    """

    def __init__(
        self, models: Sequence[nn.Module], through: Callable[..., Tensor] = nn.Module.__call__
    ) -> None:
        self.models = list(models)
        self.network = copy.deepcopy(models[0])
        joined = [_joined(tensors) for tensors in zip(*map(_tensors, models), strict=True)]
        for tensor, wide in zip(_tensors(self.network), joined, strict=True):
            tensor.data = wide
        self.parameters = list(self.network.parameters())
        self._batches = [t for t in _tensors(self.network) if not t.is_floating_point()]
        self._through = through
        self._mode: BatchNorm | None = "train"
        self.network.train()
        self._autocast_to = getattr(models[0], "autocast_to", None)
        _widen(self.network, len(models))

    def __call__(
        self, inputs: Tensor, training: bool = True, batch_norm: BatchNorm = "train"
    ) -> Tensor:
        """Outputs (k, n, ...) of each network on its own inputs (k, n, ...): in training mode and
        the networks' precision, or in evaluation mode and full precision."""
        network = self.network
        if isinstance(network, Classifier):
            network.autocast_to = self._autocast_to if training else None
        mode = batch_norm if training else None
        if self._mode != mode:  # to tell every layer takes as long as a layer does
            if mode is None:
                network.eval()
            else:
                set_training(network, mode)
            self._mode = mode
        if mode == "train" and self._batches:
            torch._foreach_add_(self._batches, 1)
        outputs: Tensor = self._through(network, inputs.transpose(0, 1).flatten(1, 2))
        apart: Tensor = outputs.unflatten(1, (len(self.models), -1)).transpose(0, 1)
        return apart

    def hand_out_gradients(self) -> None:
        """Each network's gradient to its own parameters."""
        everyone = zip(*(model.parameters() for model in self.models), strict=True)
        for wide, own in zip(self.parameters, everyone, strict=True):
            assert wide.grad is not None
            for parameter, gradient in zip(own, wide.grad.chunk(len(own)), strict=True):
                parameter.grad = gradient


class _Linears(nn.Module):
    """`count` linear layers, each of its own part of the inputs (n, count * features)."""

    def __init__(self, joined: nn.Linear, count: int) -> None:
        super().__init__()
        self.weight, self.bias, self._count = joined.weight, joined.bias, count

    def forward(self, inputs: Tensor) -> Tensor:
        own = inputs.unflatten(1, (self._count, -1)).transpose(0, 1)
        weight, bias = (part.unflatten(0, (self._count, -1)) for part in (self.weight, self.bias))
        outputs = torch.baddbmm(bias.unsqueeze(1), own, weight.transpose(1, 2))
        return outputs.transpose(0, 1).flatten(1)


def _widen(network: nn.Module, count: int) -> None:
    """Have layers, whose weights are joined already, treat each network's channels apart."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.groups *= count
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.num_batches_tracked = None  # counted for each network
        for name, part in layer.named_children():
            if isinstance(part, nn.Linear):
                setattr(layer, name, _Linears(part, count))


class JointAdam:
    """Adam (Kingma and Ba 2015) of several networks at once, each with its own learning rate,
    weight decay and number of steps. The state of their `optimizers` is a slice of this one's, so
    that either can go on where the other stopped; who uses one of them must make a new one of this.
    """

    def __init__(self, wide: Wide, optimizers: Sequence[torch.optim.Adam]) -> None:
        self._wide, self.optimizers = wide, optimizers
        self._weights = [_rows(p.data, p, len(optimizers)) for p in wide.parameters]
        self._sizes = [part.shape[1] for part in self._weights]
        like = self._weights[0]
        shape = len(optimizers), sum(self._sizes)
        self._first, self._second = like.new_zeros(shape), like.new_zeros(shape)
        counted = len(optimizers), len(self._sizes)
        self._steps = torch.zeros(counted, device=like.device)
        for row, (optimizer, model) in enumerate(zip(optimizers, wide.models, strict=True)):
            parts = [m[row].split(self._sizes) for m in (self._first, self._second)]
            slices = zip(model.parameters(), *parts, self._steps[row], strict=True)
            for parameter, first, second, step in slices:
                state = {
                    "step": step,
                    "exp_avg": _shaped(first, parameter),
                    "exp_avg_sq": _shaped(second, parameter),
                }
                for name, before in optimizer.state[parameter].items():
                    state[name].copy_(before)
                optimizer.state[parameter] = state
        self._taken = [int(step) for step in self._steps[:, 0].tolist()]

    @classmethod
    def of(cls, wide: Wide, optimizers: Sequence[torch.optim.Optimizer]) -> JointAdam | None:
        """For optimisers that are plain Adam, as `trainables.training.supervised.adam` makes it, of
        all that the networks have; None if any is not."""
        plain = [o for o in optimizers if type(o) is torch.optim.Adam]
        for optimizer, model in zip(plain, wide.models, strict=False):
            trained = [id(p) for group in optimizer.param_groups for p in group["params"]]
            groups = [{name: group[name] for name in USUAL} for group in optimizer.param_groups]
            if trained != [id(p) for p in model.parameters()] or groups != [USUAL]:
                return None
        return cls(wide, plain) if len(plain) == len(optimizers) else None

    @torch.no_grad()
    def step(self) -> None:
        """One step down the gradients of the wide network."""
        count, like = len(self.optimizers), self._first
        gradients = torch.cat([_rows(_gradient(p), p, count) for p in self._wide.parameters], dim=1)
        groups = [optimizer.param_groups[0] for optimizer in self.optimizers]
        self._steps += 1
        self._taken = [taken + 1 for taken in self._taken]
        (one, two), decays = BETAS, [group["weight_decay"] for group in groups]
        rates = [g["lr"] / (1 - one**t) for g, t in zip(groups, self._taken, strict=True)]
        roots = [math.sqrt(1 - two**t) for t in self._taken]
        told = torch.tensor([rates, roots, decays], dtype=like.dtype).to(like.device)
        rate, root, decay = told.unsqueeze(-1)
        if any(decays):
            gradients.addcmul_(torch.cat(self._weights, dim=1), decay)
        self._first.lerp_(gradients, 1 - one)
        self._second.mul_(two).addcmul_(gradients, gradients, value=1 - two)
        change = self._first / self._second.sqrt().div_(root).add_(EPSILON) * rate
        for weights, part in zip(self._weights, change.split(self._sizes, dim=1), strict=True):
            weights.sub_(part)


BETAS, EPSILON = (0.9, 0.999), 1e-8
USUAL = {
    "betas": BETAS,
    "eps": EPSILON,
    **dict.fromkeys(("amsgrad", "maximize", "decoupled_weight_decay"), False),
}
"""Adam as it comes."""


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors one after the other, in the layout of the first; they become slices of it."""
    single = tensors[0].dim() == 0
    joined = torch.cat(
        [tensor.detach().reshape(1) if single else tensor.detach() for tensor in tensors]
    )
    if not tensors[0].is_contiguous():
        joined = joined.contiguous(memory_format=torch.channels_last)
    for tensor, part in zip(tensors, joined.chunk(len(tensors)), strict=True):
        tensor.data = part.squeeze(0) if single else part
    return joined


def _rows(joined: Tensor, like: Tensor, count: int) -> Tensor:
    """(count, ...) of a tensor for all networks: each one's values in a row, in the order in which
    those of `like` lie in memory."""
    ordered = joined if like.is_contiguous() else joined.permute(0, 2, 3, 1)
    return ordered.reshape(count, -1)


def _shaped(row: Tensor, parameter: Tensor) -> Tensor:
    """A part of a row in the shape and layout of `parameter`."""
    if parameter.is_contiguous():
        return row.view(parameter.shape)
    outputs, inputs, height, width = parameter.shape
    return row.view(outputs, height, width, inputs).permute(0, 3, 1, 2)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
