"""Conditional GAN (Mirza & Osindero 2014; thesis, eq. 2): one generator for all classes.

DCGAN's networks, losses and optimiser; both networks are also told the label. Images in [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.generators.dcgan import (
    LATENT,
    compete,
    discriminator_layers,
    generator_layers,
    initialise,
)
from trainables.training.group import Group


class ConditionalGenerator(nn.Module):
    """Maps noise (n, 100) and labels (n,) to images (n, c, h, w) in [-1, 1]."""

    def __init__(
        self, image_shape: tuple[int, int, int], num_classes: int, width: float = 1.0
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.layers = generator_layers(LATENT + num_classes, image_shape, width)
        self.apply(initialise)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        one_hot = functional.one_hot(labels, self.num_classes).to(noise.dtype)
        images: Tensor = self.layers(torch.cat([noise, one_hot], dim=1)[:, :, None, None])
        return images[:, :, : self.image_shape[1], : self.image_shape[2]]

    def of(self, label: int) -> OneClass:
        """The generator of one class. It shares this one's weights."""
        return OneClass(self, label)


class OneClass(nn.Module):
    """Maps noise (n, 100) to images (n, c, h, w) of one class, as a dcgan.Generator does."""

    def __init__(self, generator: ConditionalGenerator, label: int) -> None:
        super().__init__()
        self.generator = generator
        self.label = label
        self.train(generator.training)

    def forward(self, noise: Tensor) -> Tensor:
        labels = torch.full((len(noise),), self.label, device=noise.device)
        images: Tensor = self.generator(noise, labels)
        return images


class ConditionalDiscriminator(nn.Module):
    """Maps images (n, c, h, w) and labels (n,) to a logit (n,) of being real.

    Each class is one more channel of the image: 1 for its label, 0 for the others.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], num_classes: int, width: float = 1.0
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layers = discriminator_layers(image_shape[0] + num_classes, image_shape, width)
        self.apply(initialise)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        one_hot = functional.one_hot(labels, self.num_classes).to(images.dtype)
        planes = one_hot[:, :, None, None].expand(-1, -1, *images.shape[2:])
        logits: Tensor = self.layers(torch.cat([images, planes], dim=1))
        return logits.flatten()


def train(
    samples: Samples, num_classes: int, steps: int, seed: int, width: float = 1.0
) -> ConditionalGenerator:
    """Train one generator of all classes in `samples` for `steps` steps of each network.

    Trained as dcgan.train does, on batches of all classes. Raises Diverged.
    """
    device = samples.labels.device
    channels, rows, columns = samples.images.shape[1:]
    image_shape = (channels, rows, columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = ConditionalGenerator(image_shape, num_classes, width).to(device)
        discriminator = ConditionalDiscriminator(image_shape, num_classes, width).to(device)
    pair = Group([generator]), Group([discriminator])
    compete(*pair, [samples], steps, [seed], conditional=True)
    return generator.eval()
