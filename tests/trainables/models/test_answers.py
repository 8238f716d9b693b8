"""What a model answers: in evaluation mode, in order, whatever the batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.trainables.toys import rng
from trainables.models import answers, catalogue
from trainables.models.answers import last_layer, predict


def untrained() -> nn.Module:
    return catalogue.build("allcnn", (1, 8, 8), 3, 0.05, seed=1)


def test_a_layer_that_is_frozen_in_evaluation_mode_stays_so() -> None:
    model = untrained().train()
    norm = next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    norm.eval()
    predict(model, torch.zeros(2, 1, 8, 8))
    assert model.training
    assert not norm.training


def test_predictions_are_made_in_evaluation_mode_whatever_the_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, images = untrained(), torch.rand(30, 1, 8, 8, generator=rng(4)) * 2 - 1
    model(images)  # moves the running statistics
    expected = model.eval()(images).detach()
    for size in (1_024, 7, 1):
        monkeypatch.setattr(answers, "BATCH", size)
        torch.testing.assert_close(predict(model.train(), images), expected)


def test_the_order_of_images_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BATCH", 3)
    images = torch.arange(10.0)[:, None]
    assert torch.equal(predict(nn.Identity(), images), images)


def test_a_model_without_layers_has_no_last_one() -> None:
    assert last_layer(nn.BatchNorm2d(2)) is None
