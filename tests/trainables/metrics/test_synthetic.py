"""Metrics on the synthetic hold-out against numbers by hand."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables.errors import Diverged, GeneratorError
from trainables.metrics.synthetic import SyntheticEvaluator, synthetic_gap
from trainables.models.answers import answers_of
from trainables.outcome import METRICS

SURE = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]
"""Logits that say class 0, 1, 2."""

LABELS = [1, 0, 1, 2, 1, 0, 1, 2, 0, 0]
"""What the base model says of ten images: four times class 1, six times another."""


class Table(nn.Module):
    """Answers the row of its table whose number is in an image's first pixel."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, images: Tensor) -> Tensor:
        return self.rows[images[:, 0, 0, 0].round().long()]


def images(count: int = len(LABELS)) -> Tensor:
    """Images that each have their number as their code."""
    found = torch.zeros(count, 1, 2, 2)
    found[:, 0, 0, 0] = torch.arange(count)
    return found


def says(labels: list[int]) -> Table:
    return Table([SURE[label] for label in labels])


def evaluator(forget: tuple[int, ...] = (1,), labels: list[int] | None = None) -> Any:
    given = LABELS if labels is None else labels
    return judge_of(says(given), len(given), forget)


def judge_of(base: nn.Module, count: int, forget: tuple[int, ...]) -> Any:
    """Judges models by what they answer."""
    judge = SyntheticEvaluator(base, images(count), forget)
    return lambda model: judge(answers_of(model))


def test_the_base_model_itself_has_kept_all_and_forgotten_nothing() -> None:
    found = evaluator()(says(LABELS))
    assert found == {
        "synthetic_forget_accuracy": 100.0,
        "synthetic_retain_accuracy": 100.0,
        "synthetic_gap": 50.0,
        "synthetic_retain_kl": 0.0,
    }
    assert list(found) == [name for name in METRICS if name.startswith("synthetic")]


def test_the_ideal_has_forgotten_all_and_kept_the_rest() -> None:
    found = evaluator()(says([0 if label == 1 else label for label in LABELS]))
    assert found["synthetic_forget_accuracy"] == 0
    assert found["synthetic_retain_accuracy"] == 100
    assert found["synthetic_gap"] == 0
    assert found["synthetic_retain_kl"] == 0, "what it says of forget classes is not looked at"


def test_by_hand() -> None:
    # Of the four of class 1 one is still called so, of the six others four are what they were.
    answers = [1, 0, 0, 1, 2, 0, 2, 2, 1, 0]
    found = evaluator()(says(answers))
    assert found["synthetic_forget_accuracy"] == pytest.approx(25)
    assert found["synthetic_retain_accuracy"] == pytest.approx(100 * 4 / 6)
    assert found["synthetic_gap"] == pytest.approx((25 + 100 * 2 / 6) / 2)


def test_several_forget_classes_are_one_share() -> None:
    # Forgotten are images that are no longer called what they were, even where it is the other.
    found = evaluator((0, 1))(says([0, 1, 1, 2, 1, 0, 1, 0, 0, 2]))
    assert found["synthetic_forget_accuracy"] == pytest.approx(100 * 5 / 8)
    assert found["synthetic_retain_accuracy"] == pytest.approx(50)


def test_a_model_that_has_lost_everything_is_as_far_off_as_one_that_kept_everything() -> None:
    found = evaluator()(says([2 if label != 2 else 0 for label in LABELS]))
    assert (found["synthetic_forget_accuracy"], found["synthetic_retain_accuracy"]) == (0, 0)
    assert found["synthetic_gap"] == 50


def test_divergence_is_the_base_model_s_from_the_model_on_images_of_other_classes() -> None:
    up, even = [log(3), 0.0], [0.0, 0.0]  # 3/4 and 1/4; 1/2 each
    base = Table([up, [0.0, log(3)], up])
    model = Table([even, [5.0, -5.0], up])
    found = judge_of(base, 3, (1,))(model)
    # The mean of KL(base || model) and of 0; the second image is of the forget class.
    expected = (0.75 * log(3 / 2) + 0.25 * log(1 / 2)) / 2
    assert found["synthetic_retain_kl"] == pytest.approx(expected)
    other_way = judge_of(Table([even, [0.0, 1.0], up]), 3, (1,))
    turned = other_way(Table([up, even, up]))["synthetic_retain_kl"]
    assert turned == pytest.approx((0.5 * log(2 / 3) + 0.5 * log(2)) / 2)


def test_models_alike_in_both_accuracies_are_told_apart() -> None:
    judge = evaluator()
    unsure = Table([[value / 2 for value in SURE[label]] for label in LABELS])
    near, far = judge(says(LABELS)), judge(unsure)
    assert near["synthetic_retain_accuracy"] == far["synthetic_retain_accuracy"]
    assert near["synthetic_retain_kl"] < far["synthetic_retain_kl"]


@pytest.mark.parametrize(
    ("labels", "missing"), [([0, 2, 2], "a forget class"), ([1, 1], "another class")]
)
def test_a_hold_out_without_images_of_either_kind_is_refused(
    labels: list[int], missing: str
) -> None:
    with pytest.raises(GeneratorError) as caught:
        evaluator(labels=labels)
    message = str(caught.value)
    assert f"none of the {len(labels)} images" in message
    assert f"shows {missing}" in message
    assert "inversion.steps" in message
    assert len(message.splitlines()) == 1


def test_models_are_asked_in_evaluation_mode_and_keep_theirs() -> None:
    class Moody(Table):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) if not self.training else -super().forward(images)

    model = Moody([SURE[label] for label in LABELS]).train()
    assert evaluator()(model)["synthetic_retain_accuracy"] == 100
    assert model.training


def test_answers_that_are_no_numbers_diverge() -> None:
    with pytest.raises(Diverged):
        evaluator()(Table([[float("nan")] * 3] * len(LABELS)))


@pytest.mark.parametrize(
    ("forget", "retain", "expected"),
    [(0.0, 100.0, 0.0), (100.0, 100.0, 50.0), (0.0, 0.0, 50.0), (100.0, 0.0, 100.0), (10, 70, 20)],
)
def test_the_gap_is_the_mean_distance_to_the_ideal(
    forget: float, retain: float, expected: float
) -> None:
    figures = {"synthetic_forget_accuracy": forget, "synthetic_retain_accuracy": retain}
    assert synthetic_gap({**figures, "gap": 77.0}) == pytest.approx(expected)
