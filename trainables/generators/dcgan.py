"""DCGAN (Radford et al. 2016): one generator per class (thesis, Alg. 7).

Sized to the image: the generator doubles a small grid until the image is covered, and cuts the
margin; channels are the paper's from 16 pixels up and fewer below. Images are generated at their
own size in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.training.group import Group
from trainables.training.supervised import adam, descend

LATENT = 100
WIDTH = 64
"""Channels next to the image; they double with each stage away from it."""
LEARNING_RATE = 2e-4
BETAS = (0.5, 0.999)
BATCH_SIZE = 128


def _stages(image_shape: tuple[int, int, int]) -> int:
    return max(2, round(math.log2(min(image_shape[1:]) / 4)))


def _channels(image_shape: tuple[int, int, int], width: float) -> int:
    return max(1, round(width * min(WIDTH, 4 * min(image_shape[1:]))))


def generator_layers(inputs: int, image_shape: tuple[int, int, int], width: float) -> nn.Sequential:
    """Transposed convolutions from (n, inputs, 1, 1) to images that at least cover the shape."""
    channels, rows, columns = image_shape
    stages = _stages(image_shape)
    outputs = _channels(image_shape, width) * 2 ** (stages - 1)
    grid = (math.ceil(rows / 2**stages), math.ceil(columns / 2**stages))
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(inputs, outputs, grid, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
    for _ in range(stages - 1):
        layers += [
            nn.ConvTranspose2d(outputs, outputs // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outputs // 2),
            nn.ReLU(inplace=True),
        ]
        outputs //= 2
    layers += [nn.ConvTranspose2d(outputs, channels, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)


def discriminator_layers(
    inputs: int, image_shape: tuple[int, int, int], width: float, batch_norm: bool = True
) -> nn.Sequential:
    """Convolutions from (n, inputs, h, w), of the image's size, to (n, 1, 1, 1)."""
    _, rows, columns = image_shape
    outputs = _channels(image_shape, width)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    rows, columns = rows // 2, columns // 2
    for _ in range(_stages(image_shape) - 1):
        # Without batch norm's shift and without a bias, the network could only be homogeneous.
        layers.append(nn.Conv2d(outputs, outputs * 2, 4, 2, 1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs * 2))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        outputs *= 2
        rows, columns = rows // 2, columns // 2
    layers.append(nn.Conv2d(outputs, 1, (rows, columns), bias=False))
    return nn.Sequential(*layers)


class Generator(nn.Module):
    """Maps noise (n, 100) to images (n, c, h, w) in [-1, 1]; `width` scales its channels."""

    def __init__(self, image_shape: tuple[int, int, int], width: float = 1.0) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.layers = generator_layers(LATENT, image_shape, width)
        self.apply(initialise)

    def forward(self, noise: Tensor) -> Tensor:
        images: Tensor = self.layers(noise[:, :, None, None])
        return images[:, :, : self.image_shape[1], : self.image_shape[2]]


class Discriminator(nn.Module):
    """Maps images (n, c, h, w) to a logit (n,) of being real; `width` scales its channels."""

    def __init__(self, image_shape: tuple[int, int, int], width: float = 1.0) -> None:
        super().__init__()
        self.layers = discriminator_layers(image_shape[0], image_shape, width)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits.flatten(1).squeeze(1)


def initialise(module: nn.Module) -> None:
    """The paper's weights: N(0, 0.02) for convolutions, N(1, 0.02) for batch norms' scales."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def train(samples: Samples, steps: int, seed: int, width: float = 1.0) -> Generator:
    """Train a generator of these samples for `steps` steps of each network.

    Adam 2e-4, betas (0.5, 0.999), batches of 128 (fewer where there are fewer samples), binary
    cross-entropy with the generator maximising log D(G(z)). Raises Diverged.
    """
    return train_together([samples], steps, [seed], width)[0]


def train_together(
    samples: Sequence[Samples], steps: int, seeds: Sequence[int], width: float = 1.0
) -> list[Generator]:
    """`train` of each of these samples with its seed, as one computation; what comes out is what
    separate trainings give, up to rounding. Raises Diverged if any does."""
    device = samples[0].labels.device
    channels, rows, columns = samples[0].images.shape[1:]
    image_shape = (channels, rows, columns)
    generators, discriminators = [], []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = Generator(image_shape, width).to(device)
            discriminator = Discriminator(image_shape, width).to(device)
        # Three quarters of the time on small images.
        generators.append(generator.to(memory_format=torch.channels_last))
        discriminators.append(discriminator.to(memory_format=torch.channels_last))
    sizes = [min(BATCH_SIZE, len(each)) for each in samples]
    for size in sorted(set(sizes)):  # batches of one size can be stacked
        chosen = [index for index, each in enumerate(sizes) if each == size]
        compete(
            Group([generators[index] for index in chosen]),
            Group([discriminators[index] for index in chosen]),
            [samples[index] for index in chosen],
            steps,
            [seeds[index] for index in chosen],
        )
    return [generator.eval() for generator in generators]


def compete(
    generators: Group,
    discriminators: Group,
    samples: Sequence[Samples],
    steps: int,
    seeds: Sequence[int],
    conditional: bool = False,
) -> None:
    """Train pairs of networks in place, each on its own samples, as `train` describes.

    Conditional networks take labels (n,) as a second argument. Fakes are made with the labels of
    the real batch, so that how frequent a label is tells the discriminator nothing.
    """
    device = samples[0].labels.device
    rngs = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    generator_optimizer = adam(generators.parameters(), LEARNING_RATE, BETAS)
    discriminator_optimizer = adam(discriminators.parameters(), LEARNING_RATE, BETAS)

    def adversarial(logits: Tensor, real: bool) -> Tensor:
        """Summed over the pairs."""
        wanted = torch.full_like(logits, float(real))
        return len(samples) * functional.binary_cross_entropy_with_logits(logits, wanted)

    batch = min(BATCH_SIZE, len(samples[0]))
    for _ in range(steps):
        drawn = [
            (
                torch.randint(len(own), (batch,), generator=rng, device=device),
                torch.randn(batch, LATENT, generator=rng, device=device),
            )
            for own, rng in zip(samples, rngs, strict=True)
        ]
        chosen = [own.where(index) for own, (index, _) in zip(samples, drawn, strict=True)]
        real = torch.stack([own.images for own in chosen])
        condition = (torch.stack([own.labels for own in chosen]),) if conditional else ()
        fake = generators(torch.stack([noise for _, noise in drawn]), *condition)
        loss = adversarial(discriminators(real, *condition), real=True)
        loss = loss + adversarial(discriminators(fake.detach(), *condition), real=False)
        descend(loss, discriminator_optimizer)
        # The generator's step needs no gradients of the discriminator's weights.
        judged = discriminators(fake, *condition, frozen=True)
        descend(adversarial(judged, real=True), generator_optimizer)


@torch.inference_mode()
def draw(generator: nn.Module, count: int, rng: torch.Generator) -> Tensor:
    """`count` images (count, c, h, w) in [-1, 1], of a generator that maps noise (n, 100)."""
    images: Tensor = generator(torch.randn(count, LATENT, generator=rng, device=rng.device))
    return images
