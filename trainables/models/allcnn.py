"""AllCNN (Springenberg et al. 2015), with batch norm, as the thesis uses it."""

from __future__ import annotations

from torch import nn

from trainables.errors import InvalidRequest
from trainables.models.classifier import Classifier, scaled


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class AllCNN(Classifier):
    """Eight convolutions, two of them with stride 2 instead of pooling.

    1,620,010 parameters at 3x32x32, 10 classes and width 1; `width` scales the 96 and 192
    channels. Maps (n, c, h, w) to logits (n, num_classes). Needs images of at least 4x4.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float) -> None:
        super().__init__()
        narrow, wide = (scaled(channels, width, "AllCNN") for channels in (96, 192))
        if min(image_shape[1:]) < 4:
            raise InvalidRequest(f"AllCNN needs images of at least 4x4, not {image_shape[1:]}")
        self.features = nn.Sequential(
            _block(image_shape[0], narrow),
            _block(narrow, narrow),
            _block(narrow, wide, stride=2),
            _block(wide, wide),
            _block(wide, wide),
            _block(wide, wide, stride=2),
            _block(wide, wide),
            _block(wide, wide, kernel=1),
        )
        self.classifier = nn.Linear(wide, num_classes)
