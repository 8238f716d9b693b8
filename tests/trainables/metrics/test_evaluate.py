"""All metrics of one model, on models whose figures are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import rng, same, state
from trainables.data.dataset import Dataset, Samples
from trainables.metrics import evaluate
from trainables.metrics.compare import Comparison
from trainables.metrics.entropy import entropy
from trainables.metrics.evaluate import Evaluator
from trainables.models import catalogue
from trainables.models.answers import Answers, Seen, answers_of

FORGET = (1,)
STEERING = ("forget_accuracy", "retain_accuracy", "mia")


def samples(counts: tuple[int, int, int], seed: int) -> Samples:
    labels = torch.tensor([0, 1, 2]).repeat_interleave(torch.tensor(counts))
    images = torch.rand(len(labels), 1, 8, 8, generator=rng(seed)) * 2 - 1
    return Samples(images, labels)


@pytest.fixture
def dataset() -> Dataset:
    """Noise with labels: 90 images to train, 40 to validate, 60 to test."""
    return Dataset(
        name="noise",
        classes=("a", "b", "c"),
        train=samples((30, 20, 40), 1),
        validation=samples((6, 10, 24), 2),
        test=samples((30, 20, 10), 3),
        fingerprint="",
    )


class Constant(nn.Module):
    """Always gives the same answer."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.zeros(len(images), 3)
        logits[:, self.answer] = 1
        return logits


def untrained() -> nn.Module:
    return catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=1)


@pytest.mark.parametrize(
    ("answer", "forget", "retain", "test_retain"),
    [(0, 0.0, 100 * 6 / 30, 75.0), (1, 100.0, 0.0, 0.0), (2, 0.0, 100 * 24 / 30, 25.0)],
)
def test_one_constant_answer_has_known_accuracies(
    dataset: Dataset, answer: int, forget: float, retain: float, test_retain: float
) -> None:
    metrics = Evaluator(dataset, FORGET, seed=0)(Constant(answer))
    assert metrics["forget_accuracy"] == metrics["test_forget_accuracy"] == forget
    assert metrics["retain_accuracy"] == pytest.approx(retain)
    assert metrics["test_retain_accuracy"] == pytest.approx(test_retain)


def test_several_classes_can_be_forgotten(dataset: Dataset) -> None:
    metrics = Evaluator(dataset, (0, 2), seed=0)(Constant(2))
    assert metrics["forget_accuracy"] == pytest.approx(100 * 24 / 30)
    assert metrics["retain_accuracy"] == 0


def test_the_figures_of_the_search_come_from_no_test_image(dataset: Dataset) -> None:
    other = replace(dataset, test=samples((20, 20, 20), 99))
    model = untrained()
    one, changed = (Evaluator(data, FORGET, seed=0)(model) for data in (dataset, other))
    assert {name: one[name] for name in STEERING} == {name: changed[name] for name in STEERING}
    assert one["test_retain_accuracy"] != changed["test_retain_accuracy"]


def test_the_figures_of_the_search_do_not_depend_on_how_many_test_images_there_are(
    dataset: Dataset,
) -> None:
    found = set()
    for count in (3, 5, 10, 20):
        fewer = replace(dataset, test=samples((count, count, count), 3))
        metrics = Evaluator(fewer, FORGET, seed=0)(untrained())
        found.add(tuple(metrics[name] for name in STEERING))
    assert len(found) == 1


def test_the_attack_tells_training_samples_of_d_r_from_held_out_samples(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def attack(
        members: np.ndarray, non_members: np.ndarray, targets: np.ndarray, seed: int
    ) -> float:
        calls.append({"members": members, "non": non_members, "targets": targets, "seed": seed})
        return 0.0

    monkeypatch.setattr(evaluate, "membership", attack)
    model = untrained().eval()
    Evaluator(dataset, FORGET, seed=7)(model)

    def of(part: Samples) -> list[float]:
        with torch.inference_mode():
            return sorted(entropy(model(part.images)).tolist())

    assert len(calls) == 2
    for call, held_out in zip(calls, (dataset.validation, dataset.test), strict=True):
        assert call["seed"] == 7
        assert sorted(call["targets"]) == pytest.approx(of(dataset.train.of(FORGET)))
        assert sorted(call["non"]) == pytest.approx(of(held_out))
        retain = np.array(of(dataset.train.without(FORGET)))
        assert len(call["members"]) >= len(call["non"])
        for member in call["members"]:
            assert np.abs(retain - member).min() < 1e-9


def test_the_same_model_always_gets_the_same_figures(dataset: Dataset) -> None:
    model = untrained()
    first = Evaluator(dataset, FORGET, seed=0)
    assert first(model) == first(model) == Evaluator(dataset, FORGET, seed=0)(model)


def test_evaluating_leaves_the_model_as_it_was(dataset: Dataset) -> None:
    for training in (True, False):
        model = untrained().train(training)
        before = state(model)
        Evaluator(dataset, FORGET, seed=0)(model)
        assert model.training is training
        assert all(module.training is training for module in model.modules())
        assert same(state(model), before)
        assert all(weight.requires_grad for weight in model.parameters())


def test_each_split_has_its_accuracies_class_by_class(dataset: Dataset) -> None:
    found = Evaluator(dataset, FORGET, seed=0).measure(answers_of(Constant(2)))
    assert found.metrics == Evaluator(dataset, FORGET, seed=0)(Constant(2))
    right = [0.0, 0.0, 100.0]
    assert found.by_class == {"class_accuracy": right, "test_class_accuracy": right}


def test_class_accuracies_agree_with_those_of_the_forget_and_retain_classes(
    dataset: Dataset,
) -> None:
    model = untrained()
    metrics, by_class = Evaluator(dataset, FORGET, seed=0).measure(answers_of(model))
    for prefix, split in (("", dataset.validation), ("test_", dataset.test)):
        counts = torch.bincount(split.labels, minlength=3).tolist()
        first, forgotten, third = by_class[f"{prefix}class_accuracy"]
        assert forgotten == pytest.approx(metrics[f"{prefix}forget_accuracy"])
        assert first is not None
        assert third is not None
        kept = (first * counts[0] + third * counts[2]) / (counts[0] + counts[2])
        assert kept == pytest.approx(metrics[f"{prefix}retain_accuracy"])


def test_a_model_is_asked_once_about_the_same_images(dataset: Dataset) -> None:
    asked: list[int] = []

    def ask(images: Tensor) -> Seen:
        asked.append(len(images))
        return Seen(torch.eye(3)[torch.arange(len(images)) % 3], images.flatten(1))

    answers = Answers(ask)
    judge = Evaluator(dataset, FORGET, seed=0)
    assert judge.measure(answers).metrics == judge.measure(answers).metrics
    judge_again = Comparison(judge, untrained(), untrained())
    judge_again(untrained(), answers)
    # 60 members of D_r, 20 training samples to be forgotten, 40 validation and 60 test images.
    assert asked == [60, 20, 40, 60]
    copied = dataset.test.images.clone()
    assert torch.equal(answers(copied), answers(dataset.test.images))
    assert asked[4:] == [60], "equal images are not the same images"
