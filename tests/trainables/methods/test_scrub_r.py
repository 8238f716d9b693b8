"""SCRUB+R: which checkpoint it goes back to, and what it keeps from scrubbing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import Witness, numbered, numbers, rng
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.methods.scrub import Scrub
from trainables.methods.scrub_r import ScrubRewind
from trainables.training.passes import PHASE_ENDS, Plan

COUNT = 100
SCRUBBED = (10, 50, 30, 90)
"""Error on the scrubbed samples after each epoch of the fake scrubbing, percent."""


class Remembering(nn.Module):
    """Knows of each image, which is its own number, whether to be right about it."""

    def __init__(self) -> None:
        super().__init__()
        self.right = nn.Parameter(torch.ones(COUNT))
        self.register_buffer("statistic", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        right = self.right[images.flatten(1)[:, 0].long()]
        return torch.stack([torch.full_like(right, 0.5), right], dim=1)


FORGET = Samples(
    torch.arange(COUNT, dtype=torch.float32).view(-1, 1, 1, 1),
    torch.ones(COUNT, dtype=torch.long),
)
RETAIN = Samples(torch.zeros(4, 1, 1, 1), torch.zeros(4, dtype=torch.long))

Handed = list[tuple[Samples, Samples]]


def ids(samples: Samples) -> list[int]:
    return samples.images.flatten().long().tolist()


def granted(forget: Samples, retain: Samples) -> Granted:
    sources = {Access.FORGET: lambda: forget, Access.RETAIN: lambda: retain}
    return Granted(ScrubRewind.needs, sources, (1,), 2, (1, 8, 8))


def access() -> Granted:
    return granted(FORGET, RETAIN)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, ...]], Handed]:
    """Replaces the scrubbing by one that errs as told; returns what is handed to it."""

    def install(held_out_errors: tuple[int, ...]) -> Handed:
        handed: Handed = []

        def scrub(_: Scrub, model: Remembering, forget: Samples, retain: Samples) -> Plan:
            handed.append((forget, retain))
            scrubbed = ids(forget)
            others = [number for number in range(COUNT) if number not in scrubbed]
            for epoch, (error, other) in enumerate(zip(SCRUBBED, held_out_errors, strict=True)):
                with torch.no_grad():
                    model.right.fill_(1.0)
                    model.right[scrubbed[: round(error / 100 * len(scrubbed))]] = 0.0
                    model.right[others[: round(other / 100 * len(others))]] = 0.0
                    model.statistic.fill_(epoch)  # type: ignore[operator]
                yield PHASE_ENDS

        monkeypatch.setattr(Scrub, "scrub", scrub)
        return handed

    return install


@pytest.mark.parametrize(
    ("final", "epoch"), [(0, 0), (15, 0), (25, 2), (35, 2), (45, 1), (65, 1), (75, 3), (100, 3)]
)
def test_the_nearest_checkpoint_to_the_final_error_on_held_out_samples_is_returned(
    fake: Callable[[tuple[int, ...]], Handed], final: int, epoch: int
) -> None:
    # The errors on held-out samples before the last epoch equal other checkpoints': distractors.
    fake((10, 50, 90, final))
    model = Remembering()
    yielded, states = 0, []
    for result in ScrubRewind().unlearn(model, access(), rng()):
        yielded += 1
        states.append(result.state_dict()["right"].clone())
    assert yielded == len(SCRUBBED) + 1, "after each epoch, then the result"
    assert torch.equal(states[-1], states[epoch])
    assert int(model.statistic) == epoch, "running statistics go back as well"  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_fifth_of_the_forget_data_is_never_scrubbed(
    fake: Callable[[tuple[int, ...]], Handed], seed: int
) -> None:
    handed = fake((0, 0, 0, 0))
    list(ScrubRewind().unlearn(Remembering(), access(), rng(seed)))
    ((forget, retain),) = handed
    assert len(forget) == 80
    assert len(set(ids(forget))) == 80
    assert retain is RETAIN
    assert ids(forget) != list(range(20, 100)), "drawn at random, not cut off one end"


def test_what_is_held_out_follows_from_the_random_source(
    fake: Callable[[tuple[int, ...]], Handed],
) -> None:
    handed = fake((0, 0, 0, 0))
    for seed in (1, 1, 2):
        list(ScrubRewind().unlearn(Remembering(), access(), rng(seed)))
    first, again, other = (set(ids(forget)) for forget, _ in handed)
    assert first == again
    assert first != other


def test_on_a_real_model_the_result_is_one_of_the_checkpoints() -> None:
    images = torch.randn(20, 1, 2, 2, generator=rng(1))
    forget = Samples(images[:10], torch.ones(10, dtype=torch.long))
    retain = Samples(images[10:], torch.zeros(10, dtype=torch.long))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    method = ScrubRewind(learning_rate=0.1, epochs=3, max_steps=1)
    states = [
        {name: value.clone() for name, value in result.state_dict().items()}
        for result in method.unlearn(model, granted(forget, retain), rng())
    ]
    assert len(states) == 4
    assert not torch.equal(states[0]["1.weight"], states[2]["1.weight"])
    assert any(torch.equal(states[-1]["1.weight"], state["1.weight"]) for state in states[:-1])


def test_what_is_held_out_is_neither_scrubbed_nor_shown_to_the_teacher() -> None:
    model = Witness()
    method = ScrubRewind(epochs=3, max_steps=2, forget_batch_size=3, retain_batch_size=4)
    list(method.unlearn(model, granted(numbered(10), numbered(8, first=100)), rng()))
    assert model.copies == ["copy 1"]
    taught = numbers(model.of("copy 1"))
    scrubbed = sorted(number for number in taught if number < 100)
    assert len(scrubbed) == len(set(scrubbed)) == 8
    assert sorted(taught) == [*scrubbed, *range(100, 108)]
    learnt = [images for name, training, _, images in model.seen if name == "model" and training]
    assert sorted(numbers(learnt)) == sorted(2 * scrubbed + 3 * list(range(100, 108)))
    looked = [
        images for name, training, _, images in model.seen if name == "model" and not training
    ]
    assert set(numbers(looked)) == set(range(10)), "but its errors are compared"
