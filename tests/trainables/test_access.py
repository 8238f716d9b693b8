"""What a method may touch, and that it can touch nothing else."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest
import torch

from trainables import methods
from trainables.access import Access, Granted
from trainables.errors import AccessDenied
from trainables.workbench import Workbench

SUBSETS = [
    frozenset(subset)
    for subset in chain.from_iterable(combinations(Access, size) for size in range(len(Access) + 1))
]

TABLE_1 = {
    "original": frozenset[Access](),
    "retrain": frozenset({Access.RETAIN}),
    "finetune": frozenset({Access.RETAIN}),
    "negative_gradient": frozenset({Access.FORGET}),
    "random_labels": frozenset({Access.FORGET}),
    "amnesiac": frozenset({Access.FORGET, Access.RETAIN, Access.LOG}),
    "bad_teacher": frozenset({Access.FORGET, Access.RETAIN}),
    "scrub": frozenset({Access.FORGET, Access.RETAIN}),
    "scrub_r": frozenset({Access.FORGET, Access.RETAIN}),
    "unsir": frozenset({Access.RETAIN}),
    "jit": frozenset({Access.FORGET}),
    "gkt": frozenset[Access](),
    "emmn": frozenset[Access](),
    "mugan": frozenset({Access.GANS}),
    "zmugan": frozenset({Access.INVERTED}),
    "zdelete": frozenset({Access.INVERTED}),
    "mask": frozenset(),
}
"""The thesis' table of what each method may use."""


def granted(needs: frozenset[Access], fetched: list[Access] | None = None) -> Granted:
    """Access whose things are their own names; `fetched` notes what was fetched."""
    log = [] if fetched is None else fetched

    def fetch(access: Access) -> Any:
        log.append(access)
        return f"the {access}"

    sources = {access: (lambda access=access: fetch(access)) for access in Access}
    return Granted(needs, sources, (1,), 4, (1, 8, 8))


def reach(access: Granted, wanted: Access) -> Any:
    return getattr(access, wanted.name.lower())


@pytest.mark.parametrize("needs", SUBSETS, ids=lambda needs: "+".join(sorted(needs)) or "nothing")
@pytest.mark.parametrize("wanted", Access)
def test_exactly_what_is_declared_is_granted(needs: frozenset[Access], wanted: Access) -> None:
    if wanted in needs:
        assert reach(granted(needs), wanted) == f"the {wanted}"
        return
    with pytest.raises(AccessDenied) as caught:
        reach(granted(needs), wanted)
    said, declared = str(caught.value).split("; it declares ")
    assert said == f"the method reached for {wanted}"
    assert declared == (", ".join(sorted(needs)) or "nothing")


@pytest.mark.parametrize("needs", SUBSETS, ids=lambda needs: "+".join(sorted(needs)) or "nothing")
def test_what_is_not_declared_is_not_even_fetched(needs: frozenset[Access]) -> None:
    fetched: list[Access] = []
    access = granted(needs, fetched)
    assert sorted(fetched) == sorted(needs), "all that is declared is fetched before timing starts"
    for wanted in needs:
        reach(access, wanted)
    assert len(fetched) == len(needs)


def test_the_retain_classes_are_all_but_the_forget_classes() -> None:
    assert granted(frozenset()).retain_classes == (0, 2, 3)
    assert Granted(frozenset(), {}, (3, 0), 4, (1, 8, 8)).retain_classes == (1, 2)


@pytest.mark.parametrize("name", methods.METHODS)
def test_a_method_needs_what_its_row_of_table_1_says(name: str) -> None:
    assert methods.make(name, {}).needs == TABLE_1[name]


def test_forget_and_retain_data_part_the_training_set(bench: Workbench) -> None:
    access = bench.grant(frozenset({Access.FORGET, Access.RETAIN}))
    train = bench.dataset.train
    assert access.forget.labels.unique().tolist() == [1]
    assert access.retain.labels.unique().tolist() == [0, 2]
    assert torch.equal(access.forget.images, train.images[train.labels == 1])
    assert torch.equal(access.retain.images, train.images[train.labels != 1])
    assert (access.forget_classes, access.num_classes) == ((1,), 3)
