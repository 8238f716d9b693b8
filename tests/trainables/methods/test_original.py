"""The base model as it is."""

from __future__ import annotations

from torch import nn

from tests.trainables.toys import rng, same, state
from trainables.access import Granted
from trainables.methods.original import Original


def test_the_model_is_yielded_untouched_without_any_access() -> None:
    model = nn.Linear(3, 2)
    before = state(model)
    (yielded,) = Original().unlearn(model, Granted(frozenset(), {}, (1,), 3, (1, 8, 8)), rng())
    assert yielded is model
    assert same(state(model), before)
