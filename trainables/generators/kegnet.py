"""Inverting a classifier into a generator (Yoo et al. 2019, "Knowledge Extraction with No
Observable Data"; thesis, Alg. 6 and eq. 11).

A generator is fed noise and a label, the fixed classifier must see that label in its image, and a
decoder must recover the noise. No data is needed: the classifier is all that is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.data.dataset import Samples
from trainables.scenario import Inversion
from trainables.training.group import Group
from trainables.training.supervised import adam, descend

LATENT = 10
HIDDEN = 120
"""Units of the decoder's layers."""


def normalised(images: Tensor) -> Tensor:
    """Each channel of each image (n, c, h, w) with mean 0 and variance 1; a constant one becomes 0.

    The authors divide by the unbiased deviation, so that the images of n pixels are smaller by
    sqrt(1 - 1 / n): 0.8 % at 8x8, 0.05 % at 32x32.
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    spread = images.std(dim=(2, 3), keepdim=True, unbiased=False)
    return (images - mean) / spread.clamp_min(1e-5)


class Generator(nn.Module):
    """Maps noise (n, 10) and labels (n,) to images (n, c, h, w).

    The authors' stack, which makes 32x32 images: two linear layers, then transposed convolutions
    from 1x1 to 4x4 and twice as large each; as many of these as the image needs, its margin cut.
    `output` "tanh" leaves images in [-1, 1], what our classifiers are trained on; "normalised" is
    the authors' (mean 0 and variance 1 per channel and image).
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, output: str) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.output = output
        channels, rows, columns = image_shape
        doublings = max(1, math.ceil(math.log2(max(rows, columns) / 4)))
        self.head = nn.Sequential(
            nn.Linear(LATENT + num_classes, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(inplace=True),
            nn.Linear(256, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(inplace=True),
        )
        layers: list[nn.Module] = [nn.ConvTranspose2d(128, 64, 4, 2, 0, bias=False)]
        inputs = 64
        for left in range(doublings, 0, -1):
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)]
            outputs = channels if left == 1 else max(4, inputs // 4)
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
            inputs = outputs
        self.stack = nn.Sequential(*layers, nn.Tanh())

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        return self.paint(fed(noise, labels, self.num_classes))

    def paint(self, inputs: Tensor) -> Tensor:
        """Images (n, c, h, w) of what `fed` gives (n, inputs)."""
        hidden = self.head(inputs)
        images: Tensor = self.stack(hidden[:, :, None, None])
        images = images[:, :, : self.image_shape[1], : self.image_shape[2]]
        return normalised(images) if self.output == "normalised" else images


def fed(noise: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Noise (..., 10) and labels (...) as a generator takes them, (..., 10 + num_classes)."""
    one_hot = functional.one_hot(labels, num_classes).to(noise.dtype)
    return torch.cat([noise, one_hot], dim=-1)


class Decoder(nn.Sequential):
    """Maps flattened images (n, pixels) to noise (n, 10), through 1 + `layers` hidden layers."""

    def __init__(self, pixels: int, layers: int) -> None:
        inputs = [pixels, *[HIDDEN] * layers]
        hidden = [
            part
            for size in inputs
            for part in (nn.Linear(size, HIDDEN), nn.ELU(), nn.BatchNorm1d(HIDDEN))
        ]
        super().__init__(*hidden, nn.Linear(HIDDEN, LATENT))


def diversity_loss(noise: Tensor, images: Tensor) -> Tensor:
    """exp(mean over pairs of -d(noise) x d(images)): small where unlike noise gives unlike images.

    Noise (..., n, z), images (..., n, pixels); d(noise) is the mean squared, d(images) the mean
    absolute difference, as in the authors' code (the thesis' Alg. 6 prints L2 for both).
    """
    between_noise = (noise[..., :, None, :] - noise[..., None, :, :]).square().mean(dim=-1)
    between_images = torch.cdist(images, images, p=1) / images.shape[-1]
    return torch.exp(-(between_noise * between_images).mean(dim=(-2, -1)))


@contextmanager
def statistics_loss(classifier: nn.Module, batches: int = 1) -> Iterator[list[Tensor]]:
    """Collects, from each pass through the body, how far every batch norm's input is from the
    statistics of its training: the squared distance of means and of variances (after Yin et al.
    2020, "DeepInversion"), in units of the variance of training. That of a layer is the mean over
    its channels, and those of a pass add up to the mean over layers, so that neither the scale of
    features nor the size of a network decides what a weight on it means. Of as many `batches` as
    the input holds, one after the other, each has statistics of its own, and the distances are
    summed."""
    found: list[Tensor] = []
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]

    def compare(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        features = inputs[0].unflatten(0, (batches, -1))
        mean = features.mean(dim=(1, 3, 4))
        variance = features.var(dim=(1, 3, 4), unbiased=False)
        assert module.running_mean is not None
        assert module.running_var is not None
        unit = module.running_var + module.eps  # as the layer itself divides
        distance = (mean - module.running_mean).square() / unit
        distance = distance + ((variance - module.running_var) / unit).square()
        found.append(distance.mean(dim=1).sum() / len(norms))

    hooks = [norm.register_forward_pre_hook(compare) for norm in norms]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _statistics(
    classifier: nn.Module, recipe: Inversion, batches: int
) -> AbstractContextManager[list[Tensor]]:
    """`statistics_loss` where the recipe weighs it; to listen takes time."""
    return statistics_loss(classifier, batches) if recipe.bn_weight else nullcontext([])


def nearness_loss(images: Tensor, labels: Tensor, examples: Samples) -> Tensor:
    """Mean over generated images (n, ...) of the squared distance per pixel to the nearest example
    of the same label (Yoon et al. 2023, few-shot aid). Images without an example count as 0."""
    alike = labels[:, None] == examples.labels[None]
    distances = torch.cdist(images.flatten(1), examples.images.flatten(1)).square()
    nearest = (distances / images[0].numel()).masked_fill(~alike, math.inf).amin(dim=1)
    return torch.where(alike.any(dim=1), nearest, 0.0).mean()


def invert(
    classifier: nn.Module,
    image_shape: tuple[int, int, int],
    num_classes: int,
    recipe: Inversion,
    seed: int,
    examples: Samples | None = None,
) -> Generator:
    """Train a generator of images that `classifier` gives the labels that it was fed.

    `classifier` stays in evaluation mode and is not changed. The authors leave it in training mode,
    where the batch norms of their ResNet (SVHN, Fashion-MNIST) normalise by the generated images;
    their LeNet (MNIST) has none. `examples` are the few real samples of the few-shot aid, if there
    are any. Raises Diverged.
    """
    return invert_together(classifier, image_shape, num_classes, recipe, [seed], examples)[0]


def invert_together(
    classifier: nn.Module,
    image_shape: tuple[int, int, int],
    num_classes: int,
    recipe: Inversion,
    seeds: Sequence[int],
    examples: Samples | None = None,
) -> list[Generator]:
    """`invert` with each of these seeds, as one computation; what comes out is what separate
    inversions give, up to rounding. Raises Diverged if any does."""
    device = next(classifier.parameters()).device
    networks, readers = [], []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Generator(image_shape, num_classes, recipe.output).to(device)
            # Two thirds of the time.
            networks.append(network.to(memory_format=torch.channels_last))
            readers.append(Decoder(math.prod(image_shape), recipe.decoder_layers).to(device))
    generators, decoders = Group(networks, Generator.paint), Group(readers)
    rngs = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    optimizer = adam([*generators.parameters(), *decoders.parameters()], recipe.learning_rate)
    judged = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    for parameter in judged:
        parameter.requires_grad_(False)
    try:
        with _statistics(classifier, recipe, len(seeds)) as statistics:
            for _ in range(recipe.steps):
                drawn = [draw_inputs(recipe.batch_size, num_classes, rng) for rng in rngs]
                noise, labels = (torch.stack(each) for each in zip(*drawn, strict=True))
                images = generators(fed(noise, labels, num_classes))
                statistics.clear()
                # Means over all are multiplied up to sums over the generators, each of which then
                # goes down its own loss.
                answers = classifier(images.flatten(0, 1))
                loss = len(seeds) * functional.cross_entropy(answers, labels.flatten())
                recovered = functional.mse_loss(decoders(images.flatten(2)), noise)
                loss = loss + recipe.reconstruction_weight * len(seeds) * recovered
                if recipe.diversity_weight:
                    diversity = diversity_loss(noise, images.flatten(2)).sum()
                    loss = loss + recipe.diversity_weight * diversity
                for own_images, own_labels in zip(images, labels, strict=True):
                    if examples is not None:
                        near = nearness_loss(own_images, own_labels, examples)
                        loss = loss + recipe.few_shot_weight * near
                if recipe.bn_weight:
                    loss = loss + recipe.bn_weight * torch.stack(statistics).sum()
                descend(loss, optimizer)
    finally:
        for parameter in judged:
            parameter.requires_grad_(True)
    return [network.eval() for network in networks]


def draw_inputs(count: int, num_classes: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Standard normal noise (count, 10) and uniform labels (count,)."""
    noise = torch.randn(count, LATENT, generator=rng, device=rng.device)
    labels = torch.randint(num_classes, (count,), generator=rng, device=rng.device)
    return noise, labels


@torch.inference_mode()
def draw(generator: Generator, count: int, rng: torch.Generator, chunk: int = 1_000) -> Tensor:
    """`count` images (count, c, h, w), of labels drawn uniformly."""
    parts = []
    for size in [chunk] * (count // chunk) + [count % chunk] * (count % chunk > 0):
        parts.append(generator(*draw_inputs(size, generator.num_classes, rng)))
    return torch.cat(parts)
