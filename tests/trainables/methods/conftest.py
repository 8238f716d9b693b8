"""Fixtures for the baselines: retain data of two classes, and access to it alone."""

from __future__ import annotations

import pytest
import torch

from tests.trainables.toys import rng
from trainables.access import Access, Granted
from trainables.data.dataset import Samples


@pytest.fixture
def retain_data() -> Samples:
    """Forty images of 8x8 of the classes 0 and 2 of three."""
    images = torch.rand(40, 1, 8, 8, generator=rng(1)) * 2 - 1
    return Samples(images, torch.arange(40) % 2 * 2)


@pytest.fixture
def retain_only(retain_data: Samples) -> Granted:
    """Access to the retain data and to nothing else."""
    return Granted(
        frozenset({Access.RETAIN}), {Access.RETAIN: lambda: retain_data}, (1,), 3, (1, 8, 8)
    )
