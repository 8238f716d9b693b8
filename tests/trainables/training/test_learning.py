"""What of a model learns: its last layers, its batch norms, or all of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import rng, same, state
from trainables import methods
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.errors import InvalidRequest
from trainables.generators import dcgan, kegnet
from trainables.generators.sampling import ClassGenerators, Ensemble
from trainables.models import catalogue
from trainables.models.answers import last_layer
from trainables.training.learning import check_learning, learning, parameters_of, set_training
from trainables.training.supervised import adam

SHAPE, CLASSES, FORGET = (1, 8, 8), 3, (1,)


def stacked() -> nn.Sequential:
    """A convolution with a norm, two linear layers with a norm between them."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.Flatten(),
        nn.Linear(8, 5),
        nn.BatchNorm1d(5),
        nn.Linear(5, 3),
    )


def names(model: nn.Module, chosen: list[nn.Parameter]) -> list[str]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [known[id(parameter)] for parameter in chosen]


CONVOLUTION = ["0.weight", "0.bias", "1.weight", "1.bias"]
HIDDEN = ["3.weight", "3.bias", "4.weight", "4.bias"]
HEAD = ["5.weight", "5.bias"]


class TestParameters:
    """The last layers of a model."""

    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            (1, HEAD),
            (2, [*HIDDEN, *HEAD]),
            (3, [*CONVOLUTION, *HIDDEN, *HEAD]),
            (4, [*CONVOLUTION, *HIDDEN, *HEAD]),
            ("all", [*CONVOLUTION, *HIDDEN, *HEAD]),
        ],
    )
    def test_norms_go_with_the_layer_before_them(self, layers: Any, expected: list[str]) -> None:
        model = stacked()
        assert names(model, parameters_of(model, layers)) == expected

    @pytest.mark.parametrize(
        ("layers", "expected"),
        [(1, HIDDEN), (2, [*CONVOLUTION, *HIDDEN]), ("all", [*CONVOLUTION, *HIDDEN])],
    )
    def test_a_frozen_head_is_none_of_them(self, layers: Any, expected: list[str]) -> None:
        model = stacked()
        assert names(model, parameters_of(model, layers, "frozen")) == expected

    def test_a_head_that_is_all_there_is_learns(self) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        assert names(model, parameters_of(model, 1, "frozen")) == ["1.weight", "1.bias"]

    def test_what_comes_before_the_first_layer_goes_with_it(self) -> None:
        model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 3), nn.Linear(2, 2))
        assert names(model, parameters_of(model, 2))[:2] == ["0.weight", "0.bias"]
        assert names(model, parameters_of(model, 1)) == ["2.weight", "2.bias"]

    def test_what_two_layers_share_belongs_to_the_first(self) -> None:
        first, second = nn.Linear(3, 3), nn.Linear(3, 3)
        second.weight = first.weight
        model = nn.Sequential(first, second, nn.Linear(3, 2))
        # The second has a bias alone that is its own, which is no layer.
        assert names(model, parameters_of(model, 1)) == ["2.weight", "2.bias"]
        everything = ["0.weight", "0.bias", "1.bias", "2.weight", "2.bias"]
        assert names(model, parameters_of(model, 2)) == everything
        assert names(model, parameters_of(model, "all")) == everything

    @pytest.mark.parametrize("name", ["allcnn", "vgg16", "resnet9"])
    def test_all_of_our_models_is_all_that_they_have(self, name: str) -> None:
        model = catalogue.build(
            name, (1, 32, 32), CLASSES, 0.05 if name == "allcnn" else 1.0, seed=0
        )
        whole = [id(parameter) for parameter in model.parameters()]
        assert [id(parameter) for parameter in parameters_of(model, "all")] == whole
        head = last_layer(model)
        assert head is not None
        last = [id(parameter) for parameter in head.parameters()]
        assert [id(parameter) for parameter in parameters_of(model, 1)] == last


@pytest.mark.parametrize(
    ("batch_norm", "layers", "message"),
    [
        ("fixed", "all", "batch_norm is 'fixed'; possible: train, frozen"),
        ("train", "some", "layers is 'some'; possible: all, or a whole number from 1 up"),
        ("train", 0, "layers is 0; possible: all"),
        ("train", -1, "layers is -1; possible: all"),
    ],
)
def test_what_is_neither_is_refused(batch_norm: str, layers: Any, message: str) -> None:
    check_learning("frozen", 1)
    check_learning("train", "all")
    with pytest.raises(InvalidRequest, match=message):
        check_learning(batch_norm, layers)


def statistics(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.detach().clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize(("batch_norm", "stay"), [("frozen", True), ("train", False)])
def test_frozen_batch_norms_keep_their_statistics_bit_for_bit(batch_norm: Any, stay: bool) -> None:
    model = nn.Sequential(stacked(), nn.Dropout(0.5)).eval()
    before = statistics(model)
    set_training(model, batch_norm)
    assert model[1].training, "all else is in training mode"
    with torch.no_grad():
        model(torch.randn(6, 1, 4, 4, generator=rng()))
    assert same(before, statistics(model)) is stay


def test_only_what_the_optimiser_has_gets_gradients_in_the_body() -> None:
    model = stacked()
    model[0].bias.requires_grad_(False)
    optimizer = adam(parameters_of(model, 1), 1e-3)
    with learning(model, optimizer, "frozen"):
        model(torch.randn(6, 1, 4, 4, generator=rng())).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == HEAD
    with pytest.raises(ZeroDivisionError), learning(model, optimizer, "frozen"):
        raise ZeroDivisionError
    untouched = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert untouched == ["0.bias"], "what was to have no gradient before has none, all else has"


SMALL: dict[str, dict[str, Any]] = {
    "finetune": {"epochs": 1},
    "negative_gradient": {"epochs": 1},
    "random_labels": {"epochs": 1},
    "scrub": {"epochs": 1, "max_steps": 1},
    "scrub_r": {"epochs": 1, "max_steps": 1},
    "bad_teacher": {"retain_fraction": 0.9},
    "unsir": {"noise_steps": 2, "noise_batches": 1, "samples_per_class": 8},
    "jit": {"perturbations": 2},
    "mugan": {"samples_per_class": 12},
    "zmugan": {"generators": 1, "samples_per_generator": 200},
    "emmn": {"repeats": 3, "maximise_steps": 1, "minimise_steps": 1},
    "zdelete": {"generators": 1, "samples_per_generator": 20, "epochs": 1},
}
"""As little as a method can do."""


def test_every_method_that_trains_the_model_it_is_given_is_here() -> None:
    able = {name for name in methods.METHODS if "batch_norm" in methods.hyperparameters(name)}
    assert able == SMALL.keys()
    assert all("layers" in methods.hyperparameters(name) for name in able)


def base() -> nn.Module:
    """A model with statistics of its own."""
    model = catalogue.build("allcnn", SHAPE, CLASSES, 0.05, seed=0)
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(32, *SHAPE, generator=rng(3)))
    return model.eval()


class Balanced(nn.Module):
    """Gives each class the same share of whatever it is shown."""

    def forward(self, images: Tensor) -> Tensor:
        order = images.flatten(1)[:, 0].argsort().argsort() % CLASSES
        return nn.functional.one_hot(order, CLASSES).float() * 9


def granted(needs: frozenset[Access]) -> Granted:
    images = torch.rand(36, *SHAPE, generator=rng(1)) * 2 - 1
    samples = Samples(images, torch.arange(36) % CLASSES)
    inverted = Ensemble([kegnet.Generator(SHAPE, CLASSES, "tanh").eval()], Balanced())
    painters = {label: dcgan.Generator(SHAPE).eval() for label in range(CLASSES)}
    gans = ClassGenerators(painters, Balanced())
    return Granted(
        needs,
        {
            Access.FORGET: lambda: samples.of(FORGET),
            Access.RETAIN: lambda: samples.without(FORGET),
            Access.INVERTED: lambda: inverted,
            Access.GANS: lambda: gans,
        },
        FORGET,
        CLASSES,
        SHAPE,
    )


@pytest.mark.parametrize("name", SMALL)
class TestMethods:
    """Each method with `batch_norm` and `layers`."""

    def unlearned(self, name: str, **values: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The state before and after."""
        made = methods.make(name, {**SMALL[name], **values})
        model = base()
        before = state(model)
        for _ in made.unlearn(model, granted(made.needs), rng(2)):
            pass
        return before, state(model)

    def test_frozen_statistics_stay_and_weights_do_not(self, name: str) -> None:
        before, after = self.unlearned(name, batch_norm="frozen", layers="all")
        weights = {key for key, _ in base().named_parameters()}
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert changed <= weights
        assert changed

    def test_statistics_follow_where_they_are_not_frozen(self, name: str) -> None:
        before, after = self.unlearned(name, batch_norm="train")
        assert not torch.equal(
            before["features.0.1.running_mean"], after["features.0.1.running_mean"]
        )

    def test_one_layer_is_the_last(self, name: str) -> None:
        before, after = self.unlearned(name, batch_norm="frozen", layers=1)
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert changed
        # zDELETE counts from the head on, which learns by itself.
        learnt = {key for key in before if name == "zdelete" and key.startswith("features.7.")}
        assert changed <= {"classifier.weight", "classifier.bias"} | learnt

    def test_layers_are_all_or_a_number(self, name: str) -> None:
        for value in ("all", 1, 3):
            assert vars(methods.make(name, {"layers": value}))["layers"] == value
        with pytest.raises(InvalidRequest, match="layers is 0"):
            methods.make(name, {"layers": 0})
        with pytest.raises(InvalidRequest, match="batch_norm is 'no'; possible: train, frozen"):
            methods.make(name, {"batch_norm": "no"})


def test_more_layers_than_there_are_are_all_of_them() -> None:
    ends = []
    for layers in ("all", 500):
        model = base()
        made = methods.make("finetune", {"epochs": 1, "layers": layers})
        list(made.unlearn(model, granted(made.needs), rng(2)))
        ends.append(copy.deepcopy(state(model)))
    assert same(*ends)
