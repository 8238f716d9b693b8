"""The classifiers: sizes known from the papers, shapes, seeds, refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.trainables.toys import rng, same, state
from trainables.errors import InvalidRequest
from trainables.models import catalogue

CIFAR = (3, 32, 32)


def parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize(
    ("name", "count"),
    [("allcnn", 1_620_010), ("vgg16", 14_728_266), ("resnet9", 6_573_130)],
)
def test_the_count_of_parameters_is_the_papers(name: str, count: int) -> None:
    assert parameters(catalogue.build(name, CIFAR, 10, 1.0, seed=0)) == count


@settings(max_examples=15)
@given(st.sampled_from([1, 3]), st.integers(2, 20), st.integers(1, 12))
def test_the_width_of_allcnn_scales_its_channels(channels: int, classes: int, parts: int) -> None:
    narrow, wide = 8 * parts, 16 * parts  # 96 and 192, times parts / 12
    rows = [(channels, narrow, 9), (narrow, narrow, 9), (narrow, wide, 9)]
    rows += [(wide, wide, 9)] * 4 + [(wide, wide, 1)]
    expected = sum(inputs * outputs * area + 2 * outputs for inputs, outputs, area in rows)
    expected += wide * classes + classes
    model = catalogue.build("allcnn", (channels, 8, 8), classes, parts / 12, seed=0)
    assert parameters(model) == expected


@pytest.mark.parametrize("name", ["vgg16", "resnet9"])
def test_the_width_scales_the_channels_of_each_layer(name: str) -> None:
    full, half = (catalogue.build(name, CIFAR, 10, width, seed=0) for width in (1.0, 0.5))
    expected = [layer.out_channels // 2 for layer in convolutions(full)]
    assert [layer.out_channels for layer in convolutions(half)] == expected
    assert half(torch.zeros(2, *CIFAR)).shape == (2, 10)


def test_the_layers_of_allcnn_are_those_of_the_thesis() -> None:
    layers = convolutions(catalogue.build("allcnn", CIFAR, 10, 1.0, seed=0))
    assert [layer.out_channels for layer in layers] == [96, 96] + [192] * 6
    assert [layer.stride[0] for layer in layers] == [1, 1, 2, 1, 1, 2, 1, 1]
    assert [layer.kernel_size[0] for layer in layers] == [3] * 7 + [1]
    assert all(layer.bias is None for layer in layers)


def test_the_layers_of_vgg16_are_the_papers() -> None:
    model = catalogue.build("vgg16", CIFAR, 10, 1.0, seed=0)
    widths = [layer.out_channels for layer in convolutions(model)]
    assert widths == [64, 64, 128, 128] + [256] * 3 + [512] * 6
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.modules()) == 5


@pytest.mark.parametrize(
    ("name", "shape", "width"),
    [
        ("allcnn", (1, 8, 8), 0.1),
        ("allcnn", (1, 4, 4), 0.1),
        ("allcnn", (3, 28, 28), 0.25),
        ("allcnn", (1, 28, 20), 0.25),
        ("allcnn", CIFAR, 1.0),
        ("vgg16", (1, 8, 8), 1.0),
        ("vgg16", (3, 28, 28), 1.0),
        ("vgg16", CIFAR, 1.0),
        ("resnet9", (1, 8, 8), 1.0),
        ("resnet9", (1, 28, 20), 1.0),
        ("resnet9", CIFAR, 1.0),
    ],
)
@pytest.mark.parametrize("classes", [2, 100])
def test_images_become_one_logit_per_class(
    name: str, shape: tuple[int, int, int], width: float, classes: int
) -> None:
    model = catalogue.build(name, shape, classes, width, seed=0)
    outputs = model(torch.rand(2, *shape))
    assert outputs.shape == (2, classes)
    assert outputs.isfinite().all()
    # Logits, not probabilities: rows do not sum to 1.
    assert not torch.allclose(outputs.sum(1), torch.ones(2))


@pytest.mark.parametrize(("side", "pools"), [(32, 5), (28, 4), (16, 4), (8, 3), (4, 2)])
def test_small_images_get_as_many_pools_as_they_can_be_halved(side: int, pools: int) -> None:
    model = catalogue.build("vgg16", (1, side, side), 10, 1.0, seed=0)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.modules()) == pools
    assert model.eval()(torch.rand(1, 1, side, side)).shape == (1, 10)


def test_the_layers_of_resnet9_are_the_customary_ones() -> None:
    model = catalogue.build("resnet9", CIFAR, 10, 1.0, seed=0)
    layers = convolutions(model)
    widths = [layer.out_channels for layer in layers]
    assert widths == [64, 128, 128, 128, 256, 512, 512, 512]
    assert all(layer.kernel_size == (3, 3) and layer.stride == (1, 1) for layer in layers)
    assert all(layer.bias is None for layer in layers)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.modules()) == 3


def test_the_residual_pairs_of_resnet9_add_to_what_they_are_given() -> None:
    """With their weights at zero they answer nothing, so only the shortcuts are left."""
    model = catalogue.build("resnet9", (1, 8, 8), 3, 1.0, seed=0).eval()
    inner = [layer for layer in convolutions(model) if layer.in_channels == layer.out_channels]
    assert len(inner) == 4
    with torch.no_grad():
        for layer in inner:
            layer.weight.zero_()
        outputs = model(torch.rand(2, 1, 8, 8, generator=rng()))
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "width"), [("allcnn", 0.25), ("vgg16", 1.0), ("resnet9", 1.0)])
class TestSeeds:
    """Weights follow from the seed and from nothing else."""

    def test_the_same_seed_gives_the_same_weights(self, name: str, width: float) -> None:
        one = catalogue.build(name, (1, 8, 8), 3, width, seed=5)
        torch.rand(3)
        assert same(state(one), state(catalogue.build(name, (1, 8, 8), 3, width, seed=5)))

    def test_another_seed_gives_other_weights(self, name: str, width: float) -> None:
        one, other = (catalogue.build(name, (1, 8, 8), 3, width, seed=seed) for seed in (5, 6))
        for first, second in zip(convolutions(one), convolutions(other), strict=True):
            assert not torch.equal(first.weight, second.weight)

    def test_the_global_random_state_is_left_alone(self, name: str, width: float) -> None:
        before = torch.get_rng_state()
        catalogue.reinitialise(catalogue.build(name, (1, 8, 8), 3, width, seed=5), seed=6)
        assert torch.equal(torch.get_rng_state(), before)

    def test_reinitialising_is_building_anew(self, name: str, width: float) -> None:
        model = catalogue.build(name, (1, 8, 8), 3, width, seed=5)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1.0)
        model(torch.rand(4, 1, 8, 8))  # moves the running statistics
        catalogue.reinitialise(model, seed=6)
        assert same(state(model), state(catalogue.build(name, (1, 8, 8), 3, width, seed=6)))


@pytest.mark.parametrize(
    ("name", "shape", "width", "said"),
    [
        ("alcnn", CIFAR, 1.0, "unknown model 'alcnn'; did you mean 'allcnn'"),
        ("allcnn", CIFAR, 0.001, "width 0.001 leaves AllCNN no channels"),
        ("allcnn", (1, 3, 8), 1.0, "at least 4x4"),
        ("vgg16", CIFAR, 0.007, "width 0.007 leaves VGG16 no channels; possible: 0.008 up"),
        ("resnet9", CIFAR, 0.007, "width 0.007 leaves ResNet9 no channels; possible: 0.008 up"),
        ("resnet9", (1, 7, 8), 1.0, "at least 8x8"),
    ],
)
def test_what_cannot_be_built_is_refused(
    name: str, shape: tuple[int, int, int], width: float, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        catalogue.build(name, shape, 10, width, seed=0)
    with pytest.raises(InvalidRequest, match=said):
        catalogue.check(name, shape, 10, width)


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_checking_what_can_be_built_makes_no_weights(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[nn.Module] = []
    build = catalogue.MODELS[name]

    def note(shape: tuple[int, int, int], classes: int, width: float) -> nn.Module:
        made.append(build(shape, classes, width))
        return made[-1]

    monkeypatch.setitem(catalogue.MODELS, name, note)
    before = torch.get_rng_state()
    catalogue.check(name, CIFAR, 10, 1.0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.is_meta for model in made for weight in model.parameters())
