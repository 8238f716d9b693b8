"""Several trials of one study as one batched computation.

Trials of a study start from one network and differ in hyperparameters and seeds. Their networks'
weights are stacked, so that a step of all of them is one step of a wider network: small kernels,
which leave a GPU idle, become large ones (Wang et al. 2021, "Horizontally Fused Training Array").
Each trial keeps its own batches, loss weights, optimiser state and random source.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainables.errors import Diverged, TrialTimeout
from trainables.metrics.evaluate import BATCH, Answers, finite
from trainables.models.classifier import full_precision
from trainables.passes import PHASE_ENDS, Pass, Plan
from trainables.training import check_finite


class Stack:
    """`count` copies of `model`, whose weights and statistics are slices of common tensors.

    `models` are ordinary networks: what changes one of them changes the stack, and the other way.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        self.models = [copy.deepcopy(model) for _ in range(count)]
        self._skeleton = copy.deepcopy(model).train()
        self._judged = copy.deepcopy(model).eval()
        self._parameters = _stacked([dict(m.named_parameters()) for m in self.models])
        self._buffers = _stacked([dict(m.named_buffers()) for m in self.models])

    def losses(self, who: Sequence[int], passes: Sequence[Pass], batches: Tensor) -> Tensor:
        """Losses (k,) of these models in training mode, each on its own batch of its own pass;
        leaves each model's gradient in its parameters.

        `batches` (k, n) are indices into each pass' samples. The passes must be alike (`key`).
        """
        everyone = len(who) == len(self.models)
        index = torch.tensor(who, device=batches.device)

        def chosen(stacked: Tensor) -> Tensor:
            return stacked if everyone else stacked[index]

        parameters = {
            name: chosen(stacked).detach().requires_grad_()
            for name, stacked in self._parameters.items()
        }
        buffers = {name: chosen(stacked) for name, stacked in self._buffers.items()}
        images = torch.stack([p.images[rows] for p, rows in zip(passes, batches, strict=True)])
        others = [
            torch.stack([tensor[rows] for tensor, rows in zip(tensors, batches, strict=True)])
            for tensors in zip(*(p.others for p in passes), strict=True)
        ]
        weights = {
            name: torch.tensor([p.weights[name] for p in passes], device=images.device)
            for name in passes[0].weights
        }

        def forward(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor
        ) -> Tensor:
            outputs: Tensor = functional_call(self._skeleton, (parameters, buffers), (images,))
            return outputs

        def loss(outputs: Tensor, others: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
            return passes[0].loss(outputs, *others, **weights)

        outputs = vmap(forward, randomness="different")(parameters, buffers, images)
        losses: Tensor = vmap(loss)(outputs, others, weights)
        # The sum's gradient by each model's weights is that of its own loss.
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
        for position, member in enumerate(who):
            for parameter, gradient in zip(
                self.models[member].parameters(), gradients, strict=True
            ):
                # In the weights' own layout, which the fused Adam takes for granted.
                parameter.grad = torch.empty_like(parameter).copy_(gradient[position])
        if not everyone:
            for name, stacked in self._buffers.items():
                stacked[index] = buffers[name]
        return losses.detach()

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """Logits (k, n, classes) of all models in evaluation mode and full precision."""

        def forward(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor
        ) -> Tensor:
            outputs: Tensor = functional_call(self._judged, (parameters, buffers), (images,))
            return outputs

        # As much memory as one model takes.
        parts = images.split(max(1, BATCH // len(self.models)))
        with full_precision(self._judged):
            ask = vmap(forward, in_dims=(0, 0, None))
            return torch.cat([ask(self._parameters, self._buffers, part) for part in parts], dim=1)

    def answers(self) -> list[Answers]:
        """What each model answers, as long as they stay as they are; asking one asks all of them.

        A model with logits that are not finite raises Diverged, and the others do not.
        """
        everyone = Answers(self.predict)

        def of(position: int) -> Answers:
            return Answers(lambda images: finite(everyone(images)[position]))

        return [of(position) for position in range(len(self.models))]


def run_together(
    stack: Stack, plans: Sequence[Plan], rngs: Sequence[torch.Generator]
) -> list[Exception | None]:
    """Take the steps of each model's plan, in place, together where they are alike.

    What a model's own plan raises, or a loss of its own that diverges, ends that model alone, and
    is returned in its place. Raises TrialTimeout, which is everyone's.
    """
    failures: list[Exception | None] = [None] * len(plans)
    waiting: dict[int, Pass] = {}
    active = set(range(len(plans)))
    while active:
        for member in sorted(active - waiting.keys()):
            try:
                following = _next_pass(plans[member], stack.models[member])
            except TrialTimeout:  # the alarm rings once, wherever the steps happen to be
                raise
            except Exception as error:  # no other trial's business
                failures[member] = error
                following = None
            if following is None:
                active.discard(member)
            else:
                waiting[member] = following
        if not waiting:
            break
        # The others wait until most are where they are.
        (commonest, _), *_ = Counter(key(each) for each in waiting.values()).most_common(1)
        group = {k: p for k, p in sorted(waiting.items()) if key(p) == commonest}
        for member, failure in _side_by_side(stack, group, rngs).items():
            failures[member] = failure
            active.discard(member)
        for member in group:
            del waiting[member]
    return failures


def key(each: Pass) -> Hashable:
    """Passes with equal keys can share a step, as far as their batches are of one size."""
    tensors = (each.images, *each.others)
    shapes = tuple((tuple(tensor.shape[1:]), tensor.dtype) for tensor in tensors)
    return each.loss, shapes, tuple(sorted(each.weights))


def _next_pass(plan: Plan, model: nn.Module) -> Pass | None:
    for following in plan:
        if following is PHASE_ENDS:
            check_finite(model)
        else:
            return following
    return None


def _side_by_side(
    stack: Stack, group: Mapping[int, Pass], rngs: Sequence[torch.Generator]
) -> dict[int, Exception]:
    """One pass of each model in `group`, step by step; what failed, by model."""
    for member in group:
        stack.models[member].train()
    order = {member: each.batches(rngs[member]) for member, each in group.items()}
    failed: dict[int, Exception] = {}
    while order:
        for batches in _by_size(order).values():
            who = list(batches)
            passes = [group[member] for member in who]
            if len(who) == 1:
                found = _alone(stack.models[who[0]], who[0], passes[0], batches[who[0]])
            else:
                losses = stack.losses(who, passes, torch.stack(list(batches.values())))
                found = _not_finite(who, losses)
                for member in who:
                    if member not in found:
                        group[member].optimizer.step()
            failed |= found
            for member in found:
                order.pop(member, None)
    return failed


def _by_size(order: dict[int, Iterator[Tensor]]) -> dict[int, dict[int, Tensor]]:
    """Each model's next batch, by the batches' size; drops those that have no more."""
    found: dict[int, dict[int, Tensor]] = {}
    for member, batches in list(order.items()):
        rows = next(batches, None)
        if rows is None:
            del order[member]
        else:
            found.setdefault(len(rows), {})[member] = rows
    return found


def _alone(model: nn.Module, member: int, each: Pass, rows: Tensor) -> dict[int, Exception]:
    try:
        each.step(model, rows)
    except Diverged as error:
        return {member: error}
    return {}


def _not_finite(who: Sequence[int], losses: Tensor) -> dict[int, Exception]:
    """As `descend`, looks at losses on a CPU only."""
    if losses.device.type != "cpu" or bool(losses.isfinite().all()):
        return {}
    return {
        member: Diverged(f"the loss became {loss}")
        for member, loss in zip(who, losses.tolist(), strict=True)
        if loss - loss != 0
    }


def _stacked(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all models, stacked, which the models then hold slices of."""
    stacked = {}
    for name in states[0]:
        tensors = [state[name] for state in states]
        stacked[name] = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, part in zip(tensors, stacked[name], strict=True):
            tensor.data = part
    return stacked
