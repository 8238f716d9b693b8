"""Losses that several methods share, as pure functions of logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """t^2 KL(softmax(teacher / t) || softmax(student / t)), mean over the batch, in nats.

    Logits (n, classes) each; a scalar >= 0 (Hinton et al. 2015). The batch mean is the
    mathematical one; it does not divide by the number of classes as well.
    """
    target = functional.log_softmax(teacher / temperature, dim=1)
    answered = functional.log_softmax(student / temperature, dim=1)
    # Written out, since `functional.kl_div` cannot be vectorised over models.
    divergence = (target.exp() * (target - answered)).sum(dim=1).mean()
    return divergence * temperature**2
