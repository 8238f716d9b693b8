"""Drawing a class' samples, filtered by the classifier, in bounded draws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainables.toys import SHAPE, CodedClassifier, CodedGenerator, rng
from trainables.data.dataset import Samples
from trainables.errors import GeneratorError
from trainables.generators import kegnet, sampling
from trainables.generators.dcgan import LATENT
from trainables.generators.sampling import (
    CHUNK,
    DRAWS_PER_SAMPLE,
    POOL_CHUNK,
    ClassGenerators,
    Ensemble,
    Pool,
    Sampler,
    share_classified_as,
)


def sampler(*generators: CodedGenerator) -> ClassGenerators:
    return ClassGenerators(dict(enumerate(generators)), CodedClassifier(len(generators)))


def halves() -> ClassGenerators:
    """The generator of class 1 paints class 1 half of the time, else class 0."""
    return sampler(CodedGenerator(0), CodedGenerator(1, threshold=0.0))


@settings(max_examples=25)
@given(st.integers(1, 3_000), st.integers(0, 2**32))
def test_exactly_as_many_as_asked_and_all_of_the_class(count: int, seed: int) -> None:
    drawn = halves().draw(1, count, rng(seed))
    assert drawn.images.shape == (count, *SHAPE)
    assert (drawn.images[:, 0, 0, 0] == 0.1).all()
    assert torch.equal(drawn.labels, torch.full((count,), 1, dtype=torch.int64))


def test_no_sample_is_delivered_twice() -> None:
    drawn = halves().draw(1, 1_500, rng())
    assert len(drawn.images.flatten(1).unique(dim=0)) == 1_500


def test_the_random_source_decides() -> None:
    one, other, third = (halves().draw(1, 70, rng(seed)).images for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_memory_is_bounded_by_drawing_in_chunks() -> None:
    generators = halves()
    generators.draw(1, 5_000, rng())
    made = generators.generators[1]
    assert isinstance(made, CodedGenerator)
    assert max(made.sizes) <= CHUNK


@pytest.mark.parametrize("count", [10, 100, 300])
def test_a_generator_that_always_misses_is_given_up(count: int) -> None:
    never = CodedGenerator(0)
    with pytest.raises(GeneratorError) as caught:
        sampler(CodedGenerator(0), never).draw(1, count, rng())
    drawn = sum(never.sizes)
    assert drawn == max(CHUNK, DRAWS_PER_SAMPLE * count)
    assert f"class 1 delivered 0 of {count} samples in {drawn} draws" in str(caught.value)
    assert "gan_steps" in str(caught.value)


def test_what_a_rare_generator_delivered_is_said() -> None:
    rarely = CodedGenerator(1, threshold=2.3)  # about one in a hundred
    with pytest.raises(GeneratorError) as caught:
        sampler(CodedGenerator(0), rarely).draw(1, 100, rng())
    assert 5 < rarely.passed < 50
    assert f"delivered {rarely.passed} of 100 samples in 2000 draws" in str(caught.value)


def test_a_rare_generator_is_not_given_up_within_the_bound() -> None:
    seldom = CodedGenerator(1, threshold=1.3)  # about one in ten
    assert len(sampler(CodedGenerator(0), seldom).draw(1, 100, rng())) == 100


def test_samples_of_several_classes_come_class_after_class() -> None:
    generators = sampler(*(CodedGenerator(code) for code in range(4)))
    drawn = generators.draw_each((3, 1), 20, rng())
    assert drawn.labels.tolist() == [3] * 20 + [1] * 20
    torch.testing.assert_close(drawn.images[:, 0, 0, 0] * 10, drawn.labels.float())


def test_what_is_drawn_can_be_trained_on() -> None:
    drawn = halves().draw(1, 10, rng())
    assert not drawn.images.is_inference()
    assert not drawn.images.requires_grad
    layer = torch.nn.Conv2d(1, 1, 2)
    layer(drawn.images).sum().backward()
    assert layer.weight.grad is not None


def test_the_share_is_that_of_the_fresh_samples_that_pass() -> None:
    generator = CodedGenerator(1, threshold=0.5)
    share = share_classified_as(CodedClassifier(2), generator, 1, 400, rng(9))
    noise = torch.randn(400, LATENT, generator=rng(9))
    assert share == pytest.approx(float((noise[:, 0] > 0.5).double().mean()))
    assert 0.2 < share < 0.4
    rest = share_classified_as(CodedClassifier(2), generator, 0, 400, rng(9))
    assert share + rest == pytest.approx(1)


def test_an_ensemble_labels_what_its_members_show() -> None:
    generators = [kegnet.Generator(SHAPE, 3, "tanh").eval() for _ in range(2)]
    classifier = CodedClassifier(3)
    drawn = Ensemble(generators, classifier).draw(1, 1_100, rng(4))
    assert torch.equal(drawn.images, kegnet.draw(generators[1], 1_100, rng(4)))
    assert torch.equal(drawn.labels, classifier(drawn.images).argmax(1))
    assert not drawn.images.is_inference()
    assert not drawn.labels.is_inference()


class Numbers(Sampler):
    """Images of random numbers; notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
        self.asked.append((source, count))
        images = torch.randn(count, *SHAPE, generator=rng)
        return Samples(images, torch.full((count,), source))


def pool(seed: int = 0, sampler: Sampler | None = None) -> Pool:
    return Pool(sampler or Numbers(), seed, torch.device("cpu"))


def images(pool: Pool, source: int, count: int) -> Tensor:
    drawn = pool.draw(source, count, rng())
    assert drawn.images.shape == (count, *SHAPE)
    assert drawn.labels.tolist() == [source] * count
    return drawn.images


@settings(max_examples=30)
@given(st.lists(st.integers(1, 3 * POOL_CHUNK), min_size=1, max_size=4), st.integers(0, 2**64))
def test_a_pool_gives_the_same_samples_whatever_was_asked_for_before(
    counts: list[int], seed: int
) -> None:
    whole = images(pool(seed), 3, 3 * POOL_CHUNK)
    asked = pool(seed)
    for count in counts:
        assert torch.equal(images(asked, 3, count), whole[:count])


def test_a_pool_draws_once_and_its_own_random_source_decides() -> None:
    numbers = Numbers()
    shared = pool(0, numbers)
    first = shared.draw_each((1, 2), POOL_CHUNK, rng(1))
    again = shared.draw_each((1, 2), POOL_CHUNK, rng(2))
    assert torch.equal(first.images, again.images)
    assert numbers.asked == [(1, POOL_CHUNK), (2, POOL_CHUNK)]
    images(shared, 1, POOL_CHUNK + 1)
    assert numbers.asked[2:] == [(1, POOL_CHUNK)]


def test_samples_of_pools_sources_and_chunks_all_differ() -> None:
    found = [images(pool(seed), source, 2 * POOL_CHUNK) for seed in (0, 1) for source in (0, 1)]
    firsts = torch.cat(found).flatten(1)
    assert len(firsts.unique(dim=0)) == 8 * POOL_CHUNK


def test_a_chunk_that_fails_leaves_the_pool_as_it_was() -> None:
    class Failing(Numbers):
        def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
            drawn = super().draw(source, count, rng)
            if len(self.asked) == 2:
                raise GeneratorError("collapsed")
            return drawn

    failing = pool(0, Failing())
    with pytest.raises(GeneratorError):
        failing.draw(1, 2 * POOL_CHUNK, rng())
    assert torch.equal(images(failing, 1, 2 * POOL_CHUNK), images(pool(), 1, 2 * POOL_CHUNK))


def test_what_was_cut_is_owed_as_if_it_had_been_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock on which each chunk takes ten seconds."""
    now = [0.0]

    class Slow(Numbers):
        def draw(self, source: int, count: int, rng: torch.Generator) -> Samples:
            now[0] += 10
            return super().draw(source, count, rng)

    monkeypatch.setattr(sampling.time, "perf_counter", lambda: now[0])
    slow = pool(0, Slow())
    assert slow.settle() == 0
    images(slow, 0, POOL_CHUNK // 2)  # took 10, and would have taken 5
    assert slow.settle() == pytest.approx(-5)
    images(slow, 0, POOL_CHUNK)
    assert slow.settle() == pytest.approx(10)
    images(slow, 1, POOL_CHUNK)
    assert slow.settle() == 0
    images(slow, 0, 2 * POOL_CHUNK)  # took 10, and would have taken 20
    images(slow, 0, POOL_CHUNK // 2)
    assert slow.settle() == pytest.approx(10 + 5)
