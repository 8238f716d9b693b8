"""Drawing a class' samples, filtered by the classifier, in bounded draws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.toys import SHAPE, CodedClassifier, CodedGenerator, rng
from trainables.errors import GeneratorError
from trainables.generators.dcgan import LATENT
from trainables.generators.sampling import (
    CHUNK,
    DRAWS_PER_SAMPLE,
    ClassGenerators,
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
