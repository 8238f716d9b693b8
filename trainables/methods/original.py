"""The base model as it is (BSLN in the thesis' tables): what forgetting starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from trainables.access import Access, Granted


@dataclass(frozen=True)
class Original:
    """Does nothing."""

    needs: ClassVar[frozenset[Access]] = frozenset()

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        yield model
