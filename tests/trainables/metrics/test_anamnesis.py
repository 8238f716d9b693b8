"""The anamnesis index: steps of relearning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import batches_tracked, rng, same, state
from trainables.data.dataset import Samples
from trainables.errors import Diverged
from trainables.metrics import anamnesis
from trainables.metrics.anamnesis import Relearning, anamnesis_index, relearn
from trainables.models import catalogue

LABELS = torch.arange(60) % 2
IMAGES = torch.randn(60, 1, 1, 2, generator=rng(1)) * 0.3
IMAGES[:, 0, 0, 0] += LABELS * 2 - 1.0
TRAINING = Samples(IMAGES, LABELS)
"""Two classes that a line parts."""
HELD_OUT = Samples(torch.tensor([[[[1.0, 0.0]]], [[[0.9, 0.1]]]]), torch.tensor([1, 1]))


def line(slope: float = -1.0) -> nn.Sequential:
    """Parts the classes by the first pixel: rightly where `slope` is positive."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-slope, 0.0], [slope, 0.0]]))
        model[1].bias.zero_()
    return model


def network(seed: int = 0) -> nn.Module:
    return catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed)


DIGITS = Samples(
    torch.randn(50, 1, 8, 8, generator=rng(2)), torch.randint(3, (50,), generator=rng(3))
)


def test_a_model_that_is_at_the_target_already_takes_one_step() -> None:
    found = relearn(line(slope=2.0), TRAINING, HELD_OUT, 100.0, seed=0)
    assert (found.steps, found.capped) == (1, False)


def test_one_that_only_hides_its_knowledge_takes_fewer_steps_than_one_that_lacks_it() -> None:
    steps = [
        relearn(line(slope), TRAINING, HELD_OUT, 100.0, seed=0, batch_size=8, most_epochs=99).steps
        for slope in (-0.02, -0.1)
    ]
    assert 1 < steps[0] < steps[1] - 20


@pytest.mark.parametrize("slope", [-0.03, -0.055, -0.08, -0.1])
def test_every_step_is_counted_and_looked_at(slope: float) -> None:
    """Against a loop of our own."""
    learner, source = line(slope), rng(7)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    expected, right = 0, False
    while not right:
        for images, labels in TRAINING.batches(20, source):
            optimizer.zero_grad()
            nn.functional.cross_entropy(learner(images), labels).backward()
            optimizer.step()
            expected += 1
            right = bool((learner(HELD_OUT.images).argmax(1) == HELD_OUT.labels).all())
            if right:
                break
    found = relearn(
        line(slope), TRAINING, HELD_OUT, 100.0, seed=7, learning_rate=0.01, batch_size=20
    )
    assert (found.steps, found.capped) == (expected, False)
    assert 1 < expected < 30


@pytest.mark.parametrize("every", [2, 5, 16, 1000])
@pytest.mark.parametrize("target", [100.0, 101.0])
def test_how_often_results_are_looked_at_does_not_change_them(every: int, target: float) -> None:
    def found(look_every: int) -> Relearning:
        return relearn(
            *(line(-0.055), TRAINING, HELD_OUT, target, 7),
            **{"learning_rate": 0.01, "batch_size": 20, "most_epochs": 9, "look_every": look_every},  # type: ignore[arg-type]
        )

    alone, seldom = found(1), found(every)
    assert (seldom.steps, seldom.capped) == (alone.steps, alone.capped)
    assert alone.steps == 27 if alone.capped else 1 < alone.steps < 27


def test_seconds_are_the_share_of_the_steps_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 8.0])
    monkeypatch.setattr(anamnesis, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = relearn(line(2.0), TRAINING, HELD_OUT, 100.0, 0, batch_size=20, look_every=4)
    assert (found.steps, found.seconds) == (1, 2.0)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_models_of_one_initialisation_have_the_index_1(seed: int) -> None:
    results = [
        relearn(network(5), DIGITS, DIGITS, 60.0, seed=seed, batch_size=10, most_epochs=20)
        for _ in range(2)
    ]
    assert results[0].steps == results[1].steps > 1
    assert not results[0].capped
    assert anamnesis_index(*results) == 1


def test_a_target_out_of_reach_ends_at_the_cap_and_says_so() -> None:
    found = relearn(line(), TRAINING, HELD_OUT, 101.0, seed=0, batch_size=25, most_epochs=4)
    assert (found.steps, found.capped) == (4 * 3, True)


def test_a_target_reached_by_the_very_last_step_is_no_cap() -> None:
    values = {"learning_rate": 0.01, "batch_size": 60}
    needed = relearn(line(-0.055), TRAINING, HELD_OUT, 100.0, 0, most_epochs=99, **values).steps  # type: ignore[arg-type]
    for epochs, capped in ((needed, False), (needed - 1, True)):
        found = relearn(line(-0.055), TRAINING, HELD_OUT, 100.0, 0, most_epochs=epochs, **values)  # type: ignore[arg-type]
        assert (found.steps, found.capped) == (epochs, capped)


def test_the_target_is_looked_at_on_the_held_out_samples() -> None:
    wrong = Samples(HELD_OUT.images, 1 - HELD_OUT.labels)
    found = relearn(line(2.0), TRAINING, wrong, 100.0, seed=0, most_epochs=3)
    assert (found.steps, found.capped) == (3, True)


def test_half_right_is_enough_for_a_target_of_fifty_percent() -> None:
    half = Samples(HELD_OUT.images, torch.tensor([1, 0]))
    assert relearn(line(2.0), TRAINING, half, 50.0, seed=0).steps == 1
    assert relearn(line(2.0), TRAINING, half, 50.1, seed=0).capped


@pytest.mark.parametrize("training", [True, False])
def test_the_model_that_is_given_is_not_changed(training: bool) -> None:
    model = network().train(training)
    before = state(model)
    relearn(model, DIGITS, DIGITS, 101.0, seed=0, batch_size=10, most_epochs=1)
    assert same(state(model), before)
    assert model.training is training
    assert all(weight.grad is None for weight in model.parameters())


@dataclass(frozen=True)
class Noted(Samples):
    """Samples that note the order in which their images are taken."""

    taken: list[Tensor]

    def batches(self, size: int, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().batches(size, rng):
            self.taken.append(images)
            yield images, labels


def test_both_models_get_the_same_batches_and_the_seed_alone_decides_them() -> None:
    orders = []
    for model, seed, unrelated in ((network(0), 3, 1), (network(1), 3, 2), (network(0), 4, 1)):
        torch.manual_seed(unrelated)
        taken: list[Tensor] = []
        relearn(
            model,
            Noted(DIGITS.images, DIGITS.labels, taken),
            DIGITS,
            101.0,
            seed=seed,
            batch_size=20,
            most_epochs=2,
        )
        assert len(taken) == 6
        orders.append(torch.cat(taken))
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    first, second = orders[0].split(50)
    assert not torch.equal(first, second), "shuffled anew each epoch"
    assert torch.equal(first.flatten().sort().values, DIGITS.images.flatten().sort().values)


def test_steps_are_in_training_mode_and_looks_in_evaluation_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the batch norms, which count the batches that they learn from."""
    real, tracked = anamnesis._correct, []

    def note(model: nn.Module, samples: Samples) -> Tensor:
        right = real(model, samples)
        tracked.append(batches_tracked(model))
        model.eval()  # what a look leaves behind must not matter
        return right

    monkeypatch.setattr(anamnesis, "_correct", note)
    relearn(network().eval(), DIGITS, DIGITS, 101.0, seed=0, batch_size=10, most_epochs=1)
    assert tracked == [1, 2, 3, 4, 5]


def test_the_seconds_are_those_of_relearning(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 107.5])
    monkeypatch.setattr(anamnesis, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert relearn(line(2.0), TRAINING, HELD_OUT, 100.0, seed=0).seconds == 7.5


def test_a_model_whose_weights_are_no_numbers_has_diverged() -> None:
    model = line()
    with torch.no_grad():
        model[1].weight.fill_(float("nan"))
    with pytest.raises(Diverged):
        relearn(model, TRAINING, HELD_OUT, 100.0, seed=0)


def test_the_index_is_the_unlearned_models_steps_over_the_retrained_ones() -> None:
    unlearned, retrained = Relearning(3, 9.0, False), Relearning(12, 1.0, False)
    assert anamnesis_index(unlearned, retrained) == 0.25
    assert anamnesis_index(retrained, unlearned) == 4
