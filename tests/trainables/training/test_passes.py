"""Plans are run pass by pass: batches, what the loss is told, modes, where a phase ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import Witness, numbered, numbers, rng, same, state
from trainables.data.dataset import Samples, index_batches
from trainables.errors import Diverged
from trainables.training import passes
from trainables.training.passes import PHASE_ENDS, Pass, Plan

CPU = torch.device("cpu")


def sgd(model: nn.Module, rate: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate)


def total(outputs: Tensor, *_: Tensor) -> Tensor:
    return outputs.sum()


def over(
    samples: Samples, model: nn.Module, size: int = 4, loss: Callable[..., Tensor] = total
) -> Pass:
    """A pass over samples whose others are their labels."""
    return Pass(samples.images, (samples.labels,), size, loss, sgd(model))


class Calls:
    """A loss that notes what it is told."""

    def __init__(self) -> None:
        self.positional: list[tuple[Tensor, ...]] = []
        self.named: list[dict[str, Any]] = []

    def __call__(self, *positional: Tensor, **named: Any) -> Tensor:
        self.positional.append(positional)
        self.named.append(named)
        return positional[0].sum()


class Scale(nn.Module):
    """Multiplies an image's one pixel with its one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images.flatten(1)


class TestPhases:
    """Where the model is yielded, and how far the plan has come by then."""

    def test_it_is_yielded_exactly_where_phases_end(self) -> None:
        model = Witness()

        def plan() -> Plan:
            yield PHASE_ENDS
            yield over(numbered(8), model)
            yield over(numbered(8), model)
            yield PHASE_ENDS
            yield PHASE_ENDS
            yield over(numbered(8), model)

        steps = []
        for yielded in passes.run(plan(), model, rng()):
            assert yielded is model
            steps.append(len(model.seen))
        assert steps == [0, 4, 4]
        assert len(model.seen) == 6, "what follows the last end is run as well"

    def test_without_an_end_of_a_phase_nothing_is_yielded(self) -> None:
        model = Witness()
        assert list(passes.run(iter([over(numbered(8), model)]), model, rng())) == []
        assert len(model.seen) == 2
        assert list(passes.run(iter([]), model, rng())) == []

    def test_the_plan_goes_on_when_asked_and_sees_the_model_as_it_then_is(self) -> None:
        model, reached = Witness(), []

        def plan() -> Plan:
            reached.append(len(model.seen))
            yield over(numbered(8), model)
            reached.append(len(model.seen))
            yield over(numbered(12), model)
            reached.append(len(model.seen))
            yield PHASE_ENDS
            reached.append(len(model.seen))
            yield over(numbered(4), model)

        phases = passes.run(plan(), model, rng())
        assert reached == [], "nothing happens before the first phase is asked for"
        next(phases)
        assert reached == [0, 2, 5], "all of a pass' steps are taken before the plan goes on"
        assert next(phases, None) is None
        assert reached == [0, 2, 5, 5]
        assert len(model.seen) == 6


class TestBatches:
    """What a pass covers, and what belongs together."""

    @pytest.mark.parametrize(("count", "size"), [(8, 4), (10, 4), (9, 4), (3, 8), (5, 4), (2, 2)])
    def test_a_pass_covers_each_sample_once_in_the_batches_of_index_batches(
        self, count: int, size: int
    ) -> None:
        model, samples = Witness(), numbered(count)
        list(passes.run(iter([over(samples, model, size)]), model, rng(3)))
        expected = list(index_batches(count, size, rng(3), CPU))
        batches = model.of("model")
        assert len(batches) == len(expected)
        for images, index in zip(batches, expected, strict=True):
            assert torch.equal(images, samples.images[index])
        assert sorted(numbers(batches)) == list(range(count))

    def test_images_and_others_of_the_same_rows_go_together(self) -> None:
        model, samples, loss = Witness(), numbered(9), Calls()
        others = (torch.arange(9) * 10, torch.arange(9.0).repeat(5, 1).T + 0.5)
        list(passes.run(iter([Pass(samples.images, others, 4, loss, sgd(model))]), model, rng()))
        batches = model.of("model")
        assert len(batches) == 2
        for images, (_, tens, halves) in zip(batches, loss.positional, strict=True):
            index = torch.tensor(numbers([images]))
            assert torch.equal(tens, index * 10)
            assert torch.equal(halves, others[1][index])

    def test_each_pass_has_an_order_of_its_own_that_follows_from_the_random_source(self) -> None:
        orders = []
        for seed in (1, 1, 2):
            model = Witness()
            each = over(numbered(12), model, 12)
            list(passes.run(iter([each, PHASE_ENDS, each]), model, rng(seed)))
            orders.append([numbers([images]) for images in model.of("model")])
        first, again, other = orders
        assert first == again
        distinct = {tuple(order) for order in (*first, *other, range(12))}
        assert len(distinct) == 5, "nor is it that of the samples"

    def test_orders_are_all_that_is_drawn(self) -> None:
        """So that a plan's own draws follow from its passes' sizes alone."""
        model, source, alone = Witness(), rng(7), rng(7)
        drawn = []

        def plan() -> Plan:
            yield over(numbered(9), model)
            yield over(numbered(6), model)
            drawn.append(torch.rand(3, generator=source))

        list(passes.run(plan(), model, source))
        torch.randperm(9, generator=alone)
        torch.randperm(6, generator=alone)
        assert torch.equal(drawn[0], torch.rand(3, generator=alone))


class TestSteps:
    """One step down the loss for each batch."""

    def test_the_loss_gets_outputs_and_others_in_order_and_weights_by_name(self) -> None:
        model, samples, loss = Scale(), numbered(6), Calls()
        pixels = Samples(samples.images[:, :, :1, :1], samples.labels)
        weights = {"temperature": 2.0, "alpha": 0.3}
        others = (pixels.labels, -pixels.images)
        each = Pass(pixels.images, others, 6, loss, sgd(model), weights)
        list(passes.run(iter([each]), model, rng()))
        ((outputs, labels, negated),) = loss.positional
        assert loss.named == [weights]
        assert outputs.requires_grad
        assert torch.equal(outputs.detach(), -2.0 * negated.flatten(1))
        assert torch.equal(labels, pixels.labels[-negated.flatten().long()])

    def test_no_weights_and_no_others_are_fine(self) -> None:
        model, samples, loss = Witness(), numbered(4), Calls()
        list(passes.run(iter([Pass(samples.images, (), 4, loss, sgd(model))]), model, rng()))
        assert [len(told) for told in loss.positional] == [1]
        assert loss.named == [{}]

    def test_each_batch_is_a_step_with_the_pass_own_optimizer(self) -> None:
        model, ones = Scale(), torch.ones(6, 1, 1, 1)

        def weighted(outputs: Tensor, slope: float) -> Tensor:
            return slope * outputs.mean()

        def plan() -> Plan:
            yield Pass(ones, (), 2, weighted, sgd(model, 0.1), {"slope": 2.0})  # three steps
            yield PHASE_ENDS
            yield Pass(ones, (), 3, weighted, sgd(model, 0.5), {"slope": -1.0})  # two
            yield PHASE_ENDS

        weights = [model.weight.item() for _ in passes.run(plan(), model, rng())]
        assert weights == pytest.approx([2 - 3 * 0.1 * 2, 2 - 0.6 + 2 * 0.5])

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_a_loss_that_is_not_finite_on_a_cpu_ends_it_before_the_step(self, value: float) -> None:
        model, reached = Witness(), []

        def spoilt(outputs: Tensor, _: Tensor) -> Tensor:
            return outputs.sum() * value

        def plan() -> Plan:
            yield over(numbered(4), model)
            yield PHASE_ENDS
            yield over(numbered(8), model, loss=spoilt)
            reached.append("beyond")

        phases = passes.run(plan(), model, rng())
        next(phases)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        with pytest.raises(Diverged, match="the loss became"):
            next(phases)
        assert all(map(torch.equal, before, model.parameters()))
        assert len(model.seen) == 2, "its second batch is not looked at"
        assert not reached


class TestModes:
    """Steps are taken in training mode, whatever was done to the model in between."""

    def test_a_model_in_evaluation_mode_is_trained(self) -> None:
        model = Witness().eval()
        list(passes.run(iter([over(numbered(8), model)]), model, rng()))
        assert model.modes("model") == {(True, True)}

    def test_the_plans_owner_may_switch_to_evaluation_mode_in_between(self) -> None:
        model = Witness()

        def plan() -> Plan:
            model.eval()
            yield over(numbered(8), model)
            model.eval()
            yield over(numbered(8), model)
            yield PHASE_ENDS
            model.norm.eval()
            yield over(numbered(8), model)

        list(passes.run(plan(), model, rng()))
        assert len(model.seen) == 6
        assert model.modes("model") == {(True, True)}
        assert int(model.norm.num_batches_tracked or 0) == 6, "nor does a layer stay behind"

    def test_a_look_where_a_phase_ends_changes_nothing(self) -> None:
        alone, watched = Witness(), Witness()
        for model in (alone, watched):
            each = over(numbered(8), model)
            for yielded in passes.run(iter([each, PHASE_ENDS, each]), model, rng(1)):
                if model is watched:
                    with torch.inference_mode():
                        yielded.eval()(numbered(8).images)
        assert same(state(alone), state(watched))
        assert not same(state(alone), state(Witness()))
