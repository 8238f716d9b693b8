"""Contact sheets: the right images at the right places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.models.answers import predict
from trainables.preview import COLUMNS, sheets, write_sheet
from trainables.workbench import Workbench


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_stands_in_its_row_and_column(tmp_path: Path, channels: int) -> None:
    images = torch.full((2, 3, channels, 8, 8), -1.0)
    images[1, 2] = 1.0
    images[0, 1, 0] = 0.0
    write_sheet(tmp_path / "sheet.png", images)
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert pixels.shape == (2 * 33 + 1, 3 * 33 + 1) + (() if channels == 1 else (3,))
    first = pixels if channels == 1 else pixels[..., 0]
    assert set(np.unique(first)) == {0, 128, 255}
    assert (first[34:66, 67:99] == 255).all()
    assert (first[1:33, 34:66] == 128).all()
    assert (first[1:33, 1:33] == 0).all()
    assert (first[0] == 255).all(), "a line between"


def test_images_beyond_the_range_are_brought_into_it(tmp_path: Path) -> None:
    images = torch.tensor([-3.0, 0.0, 3.0]).view(1, 3, 1, 1, 1).expand(1, 3, 1, 32, 32)
    write_sheet(tmp_path / "sheet.png", images)
    row = np.asarray(Image.open(tmp_path / "sheet.png"))[5]
    assert row[[5, 38, 71]].tolist() == [0, 128, 255]


def test_all_gans_share_a_sheet_and_each_inverted_generator_has_its_own(bench: Workbench) -> None:
    names = ["base", "gan 0", "gan 1", "gan 2", "inverted generator 0", "hold-out generator 1"]
    found = dict(sheets(bench, names))
    assert list(found) == ["gans", "inverted-generator-0", "hold-out-generator-1", "real"]
    assert all(images.shape == (3, COLUMNS, 1, 8, 8) for images in found.values())
    for title in ("gans", "inverted-generator-0"):
        answers = predict(bench.base, found[title].flatten(0, 1)).argmax(1).view(3, COLUMNS)
        assert (answers == torch.arange(3)[:, None]).double().mean() > 0.9, "a row for each class"
    train = bench.dataset.train
    assert torch.equal(found["real"][2, 0], train.of((2,)).images[0])
