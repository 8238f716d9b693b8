"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017): one generator per class.

DCGAN's networks, but the critic has no batch norm: the penalty is on the gradient of each single
image, which batch norm would mix with the others' (their section 4). Images in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.data.dataset import Samples
from trainables.generators.dcgan import LATENT, Generator, discriminator_layers, initialise
from trainables.training.supervised import adam, descend

LEARNING_RATE = 1e-4
BETAS = (0.0, 0.9)
BATCH_SIZE = 64
CRITIC_STEPS = 5
"""Steps of the critic for each one of the generator."""
PENALTY = 10.0

Scorer = Callable[[Tensor], Tensor]
"""Maps images (n, c, h, w) to scores (n,)."""


class Critic(nn.Module):
    """Maps images (n, c, h, w) to an unbounded score (n,), high for real ones."""

    def __init__(self, image_shape: tuple[int, int, int], width: float = 1.0) -> None:
        super().__init__()
        self.layers = discriminator_layers(image_shape[0], image_shape, width, batch_norm=False)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.layers(images)
        return scores.flatten()


def gradient_penalty(critic: Scorer, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """10 (|gradient| - 1)^2, the mean over random points between real and fake images (n, c, h, w).

    The fakes must not require gradients.
    """
    share = torch.rand(len(real), 1, 1, 1, generator=rng, device=rng.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    slope = torch.linalg.vector_norm(gradient, dim=(1, 2, 3))
    penalty: Tensor = PENALTY * (slope - 1).square().mean()
    return penalty


def critic_loss(critic: Scorer, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """Down it, real images score higher than fake ones, with a slope near 1."""
    gap = critic(real).mean() - critic(fake).mean()
    return gradient_penalty(critic, real, fake, rng) - gap


def generator_loss(critic: Scorer, fake: Tensor) -> Tensor:
    """Down it, fake images score higher."""
    return -critic(fake).mean()


def train(samples: Samples, steps: int, seed: int, width: float = 1.0) -> Generator:
    """Train a generator of these samples for `steps` steps of it, 5 of the critic before each.

    Adam 1e-4, betas (0, 0.9), batches of 64 (fewer where there are fewer samples), a new one for
    every step. Raises Diverged.
    """
    device = samples.labels.device
    channels, rows, columns = samples.images.shape[1:]
    image_shape = (channels, rows, columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(image_shape, width).to(device)
        critic = Critic(image_shape, width).to(device)
    rng = torch.Generator(device).manual_seed(seed)
    generator_optimizer = adam(generator.parameters(), LEARNING_RATE, BETAS)
    critic_optimizer = adam(critic.parameters(), LEARNING_RATE, BETAS)
    batch = min(BATCH_SIZE, len(samples))

    def generate() -> Tensor:
        images: Tensor = generator(torch.randn(batch, LATENT, generator=rng, device=device))
        return images

    for _ in range(steps):
        for _ in range(CRITIC_STEPS):
            index = torch.randint(len(samples), (batch,), generator=rng, device=device)
            with torch.no_grad():
                fake = generate()
            descend(critic_loss(critic, samples.images[index], fake, rng), critic_optimizer)
        # The generator's step needs no gradients of the critic's weights.
        critic.requires_grad_(False)
        descend(generator_loss(critic, generate()), generator_optimizer)
        critic.requires_grad_(True)
    return generator.eval()
