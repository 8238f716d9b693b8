"""The control: what it changes, and that this is all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.trainables.toys import rng, state
from trainables import methods
from trainables.access import Granted
from trainables.errors import InvalidRequest
from trainables.methods.mask import Mask
from trainables.models import catalogue

SHAPE = (1, 8, 8)


def granted(forget: tuple[int, ...], classes: int = 4) -> Granted:
    return Granted(frozenset(), {}, forget, classes, SHAPE)


@pytest.mark.parametrize("forget", [(1,), (3, 0)])
@pytest.mark.parametrize("name", ["allcnn", "resnet9"])
def test_it_never_answers_a_forgotten_class_and_else_what_came_next(
    name: str, forget: tuple[int, ...]
) -> None:
    shape = (1, 32, 32)
    model = catalogue.build(name, shape, 4, 0.1 if name == "allcnn" else 1.0, seed=0).eval()
    images = torch.randn(64, *shape, generator=rng())
    with torch.no_grad():
        before = model(images)
        (found,) = Mask().unlearn(model, granted(forget), rng())
        assert found is model
        after = model(images)
    expected = before.clone()
    expected[:, list(forget)] = -torch.inf
    assert torch.equal(after.argmax(1), expected.argmax(1))
    kept = [label for label in range(4) if label not in forget]
    assert torch.equal(after[:, kept], before[:, kept])
    assert after.softmax(1)[:, list(forget)].max() == 0


def test_only_the_forgotten_classes_biases_change() -> None:
    model = catalogue.build("allcnn", SHAPE, 4, 0.05, seed=0)
    before = state(model)
    list(Mask().unlearn(model, granted((1, 2)), rng()))
    after = state(model)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["classifier.bias"]
    moved = before["classifier.bias"] - after["classifier.bias"]
    assert moved.tolist() == pytest.approx([0, 1e4, 1e4, 0], abs=1e-2)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False)),
        nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Unflatten(1, (3, 3))),
        nn.BatchNorm2d(4),
    ],
    ids=["no bias", "not of classes", "no layer"],
)
def test_a_model_without_a_bias_for_each_class_is_refused(model: nn.Module) -> None:
    before = state(model)
    with pytest.raises(InvalidRequest, match="no bias for each class"):
        list(Mask().unlearn(model, granted((1,)), rng()))
    assert all(torch.equal(before[name], tensor) for name, tensor in state(model).items())


def test_it_is_the_only_control_and_needs_nothing() -> None:
    assert [name for name in methods.METHODS if methods.is_control(name)] == ["mask"]
    assert Mask.needs == frozenset()
    assert methods.hyperparameters("mask") == {}
