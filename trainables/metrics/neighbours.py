"""Where forgotten images go: to the classes to which a model goes that never saw theirs, or not.

What is left of a class shows in the probabilities of its neighbours (Ebrahimpour-Boroojeny et al.
2026, arXiv 2506.20893, attack these); this is the simplest figure of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def neighbour_gap(expected: Tensor, logits: Tensor, forget: Sequence[int]) -> float:
    """Total variation, 0 to 1, between two models' mean probabilities of the retained classes on
    images of the forgotten ones, each renormalised without the forgotten classes.

    Logits (n, classes) of the retrained model and of the one in question.
    """
    return float((_means(expected, forget) - _means(logits, forget)).abs().sum() / 2)


def _means(logits: Tensor, forget: Sequence[int]) -> Tensor:
    kept = [label for label in range(logits.shape[1]) if label not in forget]
    return torch.softmax(logits[:, kept].double(), dim=1).mean(dim=0)
