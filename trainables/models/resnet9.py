"""ResNet9, the small residual network that is customary on CIFAR (He et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.errors import InvalidRequest
from trainables.models.classifier import Classifier, scaled


def _block(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_block(channels, channels), _block(channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)  # type: ignore[no-any-return]


class ResNet9(Classifier):
    """Four convolutions of 64 to 512 channels, two residual pairs, a global max-pool, one linear
    layer.

    6,573,130 parameters at 3x32x32, 10 classes and width 1, which scales all channels. Maps
    (n, c, h, w) to logits (n, num_classes). Needs images of at least 8x8.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float) -> None:
        super().__init__()
        if min(image_shape[1:]) < 8:
            raise InvalidRequest(f"ResNet9 needs images of at least 8x8, not {image_shape[1:]}")
        first, second, third, last = (scaled(n, width, "ResNet9") for n in (64, 128, 256, 512))
        self.features = nn.Sequential(
            _block(image_shape[0], first),
            _block(first, second, pool=True),
            _Residual(second),
            _block(second, third, pool=True),
            _block(third, last, pool=True),
            _Residual(last),
        )
        self.classifier = nn.Linear(last, num_classes)

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.amax(dim=(2, 3))
