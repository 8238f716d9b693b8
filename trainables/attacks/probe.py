"""A linear probe: can the forgotten still be told from the rest by what the last layer sees?

Accuracy, membership and relearning look at outputs, which one bias can switch off; the features
behind them stay as they were. (Alain and Bengio 2017, "Understanding intermediate layers using
linear classifier probes"; of unlearned models: Jung et al. 2025, arXiv 2503.06991.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEWTON_STEPS = 30
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Probe:
    """A logistic regression on features (n, d), centred and scaled before; coefficients (d + 1,)
    have the offset last."""

    centre: Tensor
    spread: Tensor
    coefficients: Tensor

    def __call__(self, features: Tensor, is_forgotten: Tensor) -> float:
        """Percent of held-out `features` (n, d) that it tells right: those of the forgotten, where
        `is_forgotten` (n,), from the rest.

        Read it beside the retrained model's: images of a class look unlike others also to a network
        that never saw it.
        """
        scaled = (features.double() - self.centre) / self.spread
        scores = scaled @ self.coefficients[:-1] + self.coefficients[-1]
        return float(((scores > 0) == is_forgotten).double().mean()) * 100


def fit_probe(forgotten: Tensor, others: Tensor) -> Probe:
    """Fitted to tell features (k, d) of training images of D_f from those (m, d) of D_r.

    Both weigh the same, so where the forgotten are few, always to answer "the rest" is not what it
    comes to.
    """
    seen = torch.cat([forgotten, others]).double()
    centre, spread = seen.mean(dim=0), seen.std(dim=0, unbiased=False)
    spread = torch.where(spread > 0, spread, 1.0)
    labels = torch.cat([seen.new_ones(len(forgotten)), seen.new_zeros(len(others))])
    size = len(seen) / 2
    weights = torch.where(labels > 0, size / len(forgotten), size / len(others))
    return Probe(centre, spread, fit_weighted((seen - centre) / spread, labels, weights))


def fit_weighted(values: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Coefficients (d + 1,), the offset last, of the logistic regression of `labels` (n,), 0 or 1,
    on `values` (n, d): the minimum of the log loss, weighted by `weights` (n,) and summed, plus
    half the squared coefficients without the offset (scikit-learn's default penalty). By Newton's
    method, with steps halved until the loss falls."""
    design = torch.cat([values, values.new_ones(len(values), 1)], dim=1)
    penalty = torch.ones_like(design[0])
    penalty[-1] = 0.0

    def loss(point: Tensor) -> Tensor:
        scores = design @ point
        losses = torch.nn.functional.softplus(scores) - labels * scores
        return (weights * losses).sum() + (penalty * point.square()).sum() / 2

    point = torch.zeros_like(penalty)
    value = loss(point)
    for _ in range(NEWTON_STEPS):
        chances = torch.sigmoid(design @ point)
        gradient = design.T @ (weights * (chances - labels)) + penalty * point
        curvature = (weights * chances * (1 - chances)).unsqueeze(1) * design
        hessian = design.T @ curvature + torch.diag(penalty)
        # The offset has no penalty: where all chances are 0 or 1 nothing else holds it.
        hessian[-1, -1] += 1e-9
        step = torch.linalg.solve(hessian, gradient)
        share = 1.0
        while (following := loss(point - share * step)) > value and share > 1e-6:
            share /= 2
        point = point - share * step
        improved, value = value - following, following
        if improved <= TOLERANCE * (1 + value):
            break
    return point
