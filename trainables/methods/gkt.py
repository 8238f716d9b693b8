"""GKT, gated knowledge transfer (Chundawat et al. 2023, "Zero-Shot Machine Unlearning"; thesis,
eq. 4-5).

Unlearning without any data: a fresh student learns from the original, on images of a generator
that seeks where the two disagree, and never sees an image that looks like a forget class.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.access import Access, Granted
from trainables.errors import TooFewSamples
from trainables.generators.gkt import LATENT, Generator
from trainables.models.catalogue import reinitialise
from trainables.training.bounds import check_at_least, check_positive
from trainables.training.losses import distillation
from trainables.training.supervised import adam, descend

GRADIENT_NORM = 5.0
PATIENCE = 100
"""Draws in vain, in a row, until the generator goes back to its last checkpoint."""
LEAST_IMAGES = 2
"""Images that must pass the gate: batch norm cannot learn from a single one."""
PLATEAU_EVERY = 50
"""Pseudo-batches between two looks at the loss (the authors' code)."""


def gate(taught: Tensor, forget_classes: Sequence[int], threshold: float) -> Tensor:
    """Which images pass (n,), by the teacher's logits (n, classes): those with a probability of at
    most `threshold` for every forget class."""
    probabilities = functional.softmax(taught, dim=1)[:, list(forget_classes)]
    return (probabilities <= threshold).all(dim=1)


def attention_map(activations: Tensor) -> Tensor:
    """Activations (n, c, h, w) to (n, h w): mean over channels of the squares, of unit L2 norm."""
    return functional.normalize(activations.square().mean(dim=1).flatten(1), dim=1)


def attention_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference of two networks' attention maps (n, h w).

    Eq. 5 prints a product form; the authors' code and the attention-transfer paper (Zagoruyko and
    Komodakis 2017) have the difference.
    """
    layers = zip(student, teacher, strict=True)
    return torch.stack([functional.mse_loss(own, theirs) for own, theirs in layers]).sum()


def attended(model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the attention map of each conv block in order.

    A block's activations are what its ReLU gives out: 8 layers of AllCNN, 13 of VGG16, 8 of
    ResNet9 (inside its residuals, before the sum). Those ReLUs work in place, so that hooked batch
    norms would show the same tensors; after a ReLU nothing writes to them any more.
    """
    maps: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, activations: Tensor) -> None:
        maps.append(attention_map(activations))

    blocks = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    hooks = [block.register_forward_hook(note) for block in blocks]
    try:
        return model(images), maps
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class Players:
    """The three networks: the teacher is fixed, the other two learn against each other."""

    teacher: nn.Module
    student: nn.Module
    generator: Generator
    forget_classes: tuple[int, ...]


@dataclass(frozen=True)
class GKT:
    """A random student that the original teaches, on synthetic images that pass the gate.

    Defaults: the authors'. A pseudo-batch is one draw of noise that the student learnt from, as in
    the authors' code: one step of the generator and `student_steps` of the student. Draws in vain,
    of which the gate leaves too little, are not counted; 100 of them in a row take the generator
    back to where it was when a batch last passed, 100 more raise TooFewSamples. Yields after each
    tenth of the pseudo-batches.

    KL is the mean over the batch. The authors' code divides it by the number of classes C too: what
    they call beta = 250 is beta = 250 C here, so that ours weighs attention less. They halve the
    student's rate by its loss on real images of the retain classes, and the generator's by a figure
    from before training, by a slip; here both follow the student's loss on synthetic images.
    """

    student_learning_rate: float = 1e-3
    generator_learning_rate: float = 1e-3
    threshold: float = 0.01
    beta: float = 250.0
    pseudo_batches: int = 4000
    batch_size: int = 256
    student_steps: int = 10
    needs: ClassVar[frozenset[Access]] = frozenset()

    def __post_init__(self) -> None:
        check_positive(
            student_learning_rate=self.student_learning_rate,
            generator_learning_rate=self.generator_learning_rate,
            threshold=self.threshold,
        )
        check_at_least(0, beta=self.beta)
        check_at_least(1, pseudo_batches=self.pseudo_batches, student_steps=self.student_steps)
        check_at_least(LEAST_IMAGES, batch_size=self.batch_size)

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        teacher = copy.deepcopy(model).eval().requires_grad_(False)
        reinitialise(model, seed=_seed(rng))
        generator = _generator(access.image_shape, _seed(rng), rng.device)
        players = Players(teacher, model, generator, access.forget_classes)
        generator_optimizer = _clipped_adam(generator, self.generator_learning_rate)
        student_optimizer = _clipped_adam(model, self.student_learning_rate)
        schedules = [
            torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
            for optimizer in (generator_optimizer, student_optimizer)
        ]
        losses: list[Tensor] = []
        checkpoint: dict[str, Tensor] | None = None
        used = in_vain = 0
        while used < self.pseudo_batches:
            model.train()
            noise = torch.randn(self.batch_size, LATENT, generator=rng, device=rng.device)
            loss = None
            if self.generator_step(players, noise, generator_optimizer):
                loss = self.teach(players, noise, student_optimizer)
            if loss is None:
                in_vain += 1
                if in_vain % PATIENCE == 0:
                    if checkpoint is None or in_vain > PATIENCE:
                        raise TooFewSamples(_starved(self.threshold, used))
                    generator.load_state_dict(checkpoint)
                continue
            in_vain = 0
            checkpoint = {name: value.clone() for name, value in generator.state_dict().items()}
            losses.append(loss)
            used += 1
            if used % PLATEAU_EVERY == 0:
                for schedule in schedules:
                    schedule.step(float(torch.stack(losses).mean()))
                losses.clear()
            if used * 10 // self.pseudo_batches > (used - 1) * 10 // self.pseudo_batches:
                yield model

    def generator_step(
        self, players: Players, noise: Tensor, optimizer: torch.optim.Optimizer
    ) -> bool:
        """Up KL(teacher || student), on the images of `noise` that pass; False if too few do."""
        images = players.generator(noise)
        taught = players.teacher(images)
        passed = gate(taught, players.forget_classes, self.threshold)
        if int(passed.sum()) < LEAST_IMAGES:
            return False
        # The generator's step needs no gradients of the student's weights.
        players.student.requires_grad_(False)
        descend(-distillation(players.student(images[passed]), taught[passed]), optimizer)
        players.student.requires_grad_(True)
        return True

    def teach(
        self, players: Players, noise: Tensor, optimizer: torch.optim.Optimizer
    ) -> Tensor | None:
        """Eq. 4, down `student_steps` times on the images of `noise` that pass.

        The mean of the losses, or None if too few images pass. The generator rests meanwhile, so
        its images and what the teacher says of them are the same at each step.
        """
        with torch.no_grad():
            images = players.generator(noise)
            taught, maps = attended(players.teacher, images)
        passed = gate(taught, players.forget_classes, self.threshold)
        if int(passed.sum()) < LEAST_IMAGES:
            return None
        images, taught, maps = images[passed], taught[passed], [layer[passed] for layer in maps]
        losses = []
        for _ in range(self.student_steps):
            answered, own = attended(players.student, images)
            loss = distillation(answered, taught)
            if self.beta:
                loss = loss + self.beta * attention_loss(own, maps)
            descend(loss, optimizer)
            losses.append(loss.detach())
        return torch.stack(losses).mean()


def _seed(rng: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=rng, device=rng.device))


def _generator(image_shape: tuple[int, int, int], seed: int, device: torch.device) -> Generator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(image_shape).to(device)


def _clipped_adam(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    optimizer = adam(network.parameters(), learning_rate)

    def clip(*_: object) -> None:
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)

    optimizer.register_step_pre_hook(clip)
    return optimizer


def _starved(threshold: float, used: int) -> str:
    return (
        f"after {used} pseudo-batches the generator makes no images that pass the gate: the"
        f" original gives nearly all more than {threshold:g} for a forget class; raise threshold"
        " or lower generator_learning_rate"
    )
