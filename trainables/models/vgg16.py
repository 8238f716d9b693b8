"""VGG16 (Simonyan and Zisserman 2015) with batch norm and one linear layer."""

from __future__ import annotations

import math

from torch import nn

from trainables.models.classifier import Classifier, scaled

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(Classifier):
    """Thirteen 3x3 convolutions with bias in five groups, each followed by a max-pool.

    14,728,266 parameters at 3x32x32, 10 classes and width 1, which scales all channels. Images
    smaller than 32x32 get as many of the pools as their size can be halved. Maps (n, c, h, w) to
    logits (n, num_classes).
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float) -> None:
        super().__init__()
        groups = [[scaled(channels, width, "VGG16") for channels in group] for group in GROUPS]
        pools = min(len(GROUPS), int(math.log2(min(image_shape[1:]))))
        layers: list[nn.Module] = []
        inputs = image_shape[0]
        for index, group in enumerate(groups):
            for outputs in group:
                layers += [
                    nn.Conv2d(inputs, outputs, 3, padding=1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(inplace=True),
                ]
                inputs = outputs
            if index < pools:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, num_classes)
