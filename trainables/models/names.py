"""The classifiers' names and where each is, without torch, so that naming them costs nothing."""

from __future__ import annotations

MODELS: dict[str, str] = {
    "allcnn": "trainables.models.allcnn:AllCNN",
    "vgg16": "trainables.models.vgg16:VGG16",
    "resnet9": "trainables.models.resnet9:ResNet9",
}
"""Name -> "module:class". This table is the one place that lists them."""
