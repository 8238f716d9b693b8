"""Whether synthetic and real validation rank trials alike. Pure functions over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from search.analysis.best import complete

RESAMPLES = 1_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b (-1 to 1) over `trials` trials, and the ends of its bootstrap interval."""

    tau: float
    low: float
    high: float
    trials: int

    def __str__(self) -> str:
        return (
            f"tau {self.tau:.2f} ({CONFIDENCE:.0%} bootstrap interval {self.low:.2f} to "
            f"{self.high:.2f}, {self.trials} trials)"
        )


def agreement(table: pa.Table, seed: int = 0) -> Agreement | None:
    """Kendall's rank correlation of the synthetic gap with the real one, over complete trials
    that have both; None where fewer than three have, or all are alike in one of them.

    The interval is the percentile bootstrap's over trials, its draws fixed by `seed`.
    """
    from scipy.stats import kendalltau

    found = complete(table)
    both = found.filter(pc.and_(pc.is_valid(found["m_gap"]), pc.is_valid(found["m_synthetic_gap"])))
    pairs = np.stack([both[name].to_numpy() for name in ("m_gap", "m_synthetic_gap")], axis=1)
    if len(pairs) < 3 or (pairs == pairs[0]).all(axis=0).any():
        return None
    rng = np.random.default_rng(seed)
    draws = (pairs[rng.integers(len(pairs), size=len(pairs))] for _ in range(RESAMPLES))
    taus = [kendalltau(*draw.T).statistic for draw in draws]
    tail = (1 - CONFIDENCE) / 2
    # A draw of one trial over and over has no rank correlation.
    low, high = np.nanquantile(taus, [tail, 1 - tail])
    return Agreement(float(kendalltau(*pairs.T).statistic), float(low), float(high), len(pairs))
