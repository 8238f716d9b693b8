"""Membership inference on the entropy of outputs (thesis, 4.5).

An ensemble of logistic regressions tells training samples from held-out samples by the entropy of
the model's output, and is then asked about the forget set.
"""

from __future__ import annotations

import numpy as np

FITS = 10
"""Logistic regressions in the ensemble."""


def membership(
    members: np.ndarray, non_members: np.ndarray, targets: np.ndarray, seed: int
) -> float:
    """Percent of `targets` that the attack calls members, mean over the ensemble (0 to 100).

    Each argument holds entropies in nats, (n,). Members are training samples of the retain
    classes, non-members held-out samples of all classes, targets training samples of the forget
    classes. Every fit sees a bootstrap draw of as many members as non-members, so the classes are
    balanced; the draws follow from `seed`. 50 is not "chance" here: where the threshold falls
    depends on the model, so read it beside the retrained model's.
    """
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    size = min(len(members), len(non_members))
    labels = np.repeat([1, 0], size)
    called = []
    for _ in range(FITS):
        seen = np.concatenate([rng.choice(members, size), rng.choice(non_members, size)])
        # Entropies of a trained model are tiny; without scaling, the penalty would flatten the fit.
        centre, spread = seen.mean(), seen.std() or 1.0
        attack = LogisticRegression().fit(((seen - centre) / spread)[:, None], labels)
        called.append(attack.predict(((targets - centre) / spread)[:, None]).mean())
    return float(np.mean(called)) * 100
