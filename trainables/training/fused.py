"""Several trials of one study as one batched computation.

Trials of a study start from one network and differ in hyperparameters and seeds. A step of all of
them is one step of a wider network (`trainables.training.wide`): small kernels, which leave a GPU
idle, become large ones. Each trial keeps its own batches, loss weights, optimiser state and random
source.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap

from trainables.errors import Diverged, TrialTimeout
from trainables.models.answers import BATCH, Answers, Once, Seen, features_of, finite
from trainables.models.classifier import Classifier
from trainables.training.learning import set_training
from trainables.training.passes import PHASE_ENDS, Pass, Plan
from trainables.training.supervised import check_finite
from trainables.training.wide import JointAdam, Wide


class Stack:
    """`count` copies of `model` that take steps and answer together, as slices of wide networks.

    `models` are ordinary networks: what changes one of them changes what the stack computes with.
    Those that step together are joined anew when others of them do, so that alone costs nothing.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        assert isinstance(model, Classifier)
        self.models = [copy.deepcopy(model) for _ in range(count)]
        self._joint: dict[tuple[int, ...], tuple[Wide, JointAdam | None]] = {}

    def losses(self, who: Sequence[int], passes: Sequence[Pass], batches: Tensor) -> Tensor:
        """Losses (k,) of these models in training mode, each on its own batch of its own pass;
        what `step` goes down.

        `batches` (k, n) are indices into each pass' samples. The passes must be alike (`key`).
        """
        images = _gathered([each.images for each in passes], batches)
        others = [_gathered(own, batches) for own in zip(*(p.others for p in passes), strict=True)]
        weights = {
            name: torch.tensor([p.weights[name] for p in passes], device=images.device)
            for name in passes[0].weights
        }

        def loss(outputs: Tensor, others: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
            return passes[0].loss(outputs, *others, **weights)

        wide, _ = self._joined(who)
        for parameter in wide.parameters:
            parameter.grad = None
        outputs = wide(images, batch_norm=passes[0].batch_norm)
        losses: Tensor = vmap(loss)(outputs, others, weights)
        losses.sum().backward()  # its gradient by each model's weights is that of its own loss
        return losses.detach()

    def step(self, who: Sequence[int], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """One step of these models' optimisers down their last losses."""
        wide, adam = self._joined(who)
        if adam is None or adam.optimizers != optimizers:
            adam = JointAdam.of(wide, optimizers)
            self._joint[tuple(who)] = wide, adam
        if adam is not None:
            adam.step()
        else:
            self.step_apart(who, range(len(who)), optimizers)

    def step_apart(
        self,
        who: Sequence[int],
        these: Iterable[int],
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """The same of some of them alone, by their positions in `who`."""
        wide, _ = self._joined(who)
        wide.hand_out_gradients()
        self._joint[tuple(who)] = wide, None  # a joint one would not know of these steps
        for position in these:
            optimizers[position].step()

    def step_alone(self, member: int, each: Pass, rows: Tensor) -> None:
        """A step of one model's pass on the samples at `rows` (n,). Raises Diverged."""
        self._part([member])
        each.step(self.models[member], rows)

    @torch.inference_mode()
    def look(self, images: Tensor) -> list[Seen]:
        """What each model sees in evaluation mode and full precision."""
        wide, _ = self._joined(range(len(self.models)))
        # As much memory as one model takes.
        parts = images.split(max(1, BATCH // len(self.models)))
        shown = (part.expand(len(self.models), *part.shape) for part in parts)
        with features_of(wide.network) as features:
            logits = torch.cat([wide(part, training=False) for part in shown], dim=1)
        apart: list[Tensor | None] = [None] * len(self.models)
        if features:
            apart = list(torch.cat(features).chunk(len(self.models), dim=1))
        return [Seen(*own) for own in zip(logits, apart, strict=True)]

    def answers(self) -> list[Answers]:
        """What each model answers, as long as they stay as they are; asking one asks all of them.

        A model with logits that are not finite raises Diverged, and the others do not.
        """
        everyone = Once(self.look)

        def of(position: int) -> Answers:
            def ask(images: Tensor) -> Seen:
                seen = everyone(images)[position]
                finite(seen.logits)
                return seen

            return Answers(ask)

        return [of(position) for position in range(len(self.models))]

    def _joined(self, who: Iterable[int]) -> tuple[Wide, JointAdam | None]:
        key = tuple(who)
        if key not in self._joint:
            self._part(key)
            self._joint[key] = Wide([self.models[member] for member in key]), None
        return self._joint[key]

    def _part(self, who: Iterable[int]) -> None:
        """Forget what any of these is joined in: they go on in another way."""
        self._joint = {key: found for key, found in self._joint.items() if not {*who} & {*key}}


def _gathered(tensors: Sequence[Tensor], batches: Tensor) -> Tensor:
    """(k, n, ...): of each tensor, what lies at its row of `batches` (k, n)."""
    first = tensors[0]
    if all(tensor is first for tensor in tensors):
        return first[batches]
    return torch.stack([tensor[rows] for tensor, rows in zip(tensors, batches, strict=True)])


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
    return each.loss, shapes, tuple(sorted(each.weights)), each.batch_norm


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
    for member, each in group.items():
        set_training(stack.models[member], each.batch_norm)
    order = {member: each.batches(rngs[member]) for member, each in group.items()}
    failed: dict[int, Exception] = {}
    while order:
        for batches in _by_size(order).values():
            who = list(batches)
            passes = [group[member] for member in who]
            if len(who) == 1:
                found = _alone(stack, who[0], passes[0], batches[who[0]])
            else:
                losses = stack.losses(who, passes, torch.stack(list(batches.values())))
                found = _not_finite(who, losses)
                optimizers = [each.optimizer for each in passes]
                if found:
                    well = [at for at, member in enumerate(who) if member not in found]
                    stack.step_apart(who, well, optimizers)
                else:
                    stack.step(who, optimizers)
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


def _alone(stack: Stack, member: int, each: Pass, rows: Tensor) -> dict[int, Exception]:
    try:
        stack.step_alone(member, each, rows)
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
