"""Scenarios and places as values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.errors import InvalidRequest
from trainables.scenario import Places, Scenario, cache_folder


def test_a_scenario_is_a_frozen_value() -> None:
    one = Scenario(forget=(1, 2))
    assert one == Scenario(forget=(1, 2))
    assert hash(one) == hash(replace(one))
    with pytest.raises(FrozenInstanceError):
        one.seed = 1  # type: ignore[misc]


def test_forget_classes_are_indices_in_one_order() -> None:
    assert Scenario(forget=(2, 0, 2)).forget == (0, 2)
    assert Scenario(forget=(np.int64(1),)) == Scenario(forget=(1,))  # type: ignore[arg-type]


@pytest.mark.parametrize("forget", [("3",), "3", (True,), (1.0,), 3, None])
def test_names_are_for_specifications(forget: Any) -> None:
    with pytest.raises(InvalidRequest, match="takes the indices of classes"):
        Scenario(forget=forget)


def test_the_recipe_defaults_to_the_thesis() -> None:
    scenario = Scenario()
    assert (scenario.epochs, scenario.learning_rate, scenario.batch_size) == (30, 1e-3, 64)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/forgetune")
    assert Places() == Places(
        data=Path("/elsewhere/forgetune/data"), artifacts=Path("/elsewhere/forgetune/artifacts")
    )


def test_without_the_variable_the_cache_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == Path.home() / ".cache" / "forgetune"
