"""The table of methods, and making a method from hyperparameters."""

from __future__ import annotations

import math
import sys
from dataclasses import FrozenInstanceError, fields
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables import methods
from trainables.errors import InvalidRequest
from trainables.methods.finetune import Finetune
from trainables.methods.mugan import MuGAN
from trainables.methods.retrain import Retrain


class Entry(NamedTuple):
    """An entry point of a third party."""

    name: str
    value: str


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Third parties offer a method of their own, a broken one and one under our name."""
    entries = [
        Entry("theirs", "trainables.methods.original:Original"),
        Entry("broken", "no_such_package.module:Method"),
        Entry("absent", "trainables.methods.original:NoSuchClass"),
        Entry("mugan", "trainables.methods.original:Original"),
    ]

    def entry_points(group: str) -> list[Entry]:
        return entries if group == "forgetune.methods" else []

    monkeypatch.setattr(methods, "entry_points", entry_points)


class TestTable:
    """Ours and third parties'."""

    def test_an_unknown_method_gets_a_suggestion(self) -> None:
        for ask in (methods.check_known, methods.load, methods.hyperparameters):
            with pytest.raises(InvalidRequest, match="'mugen'; did you mean 'mugan'"):
                ask("mugen")

    @pytest.mark.usefixtures("theirs")
    def test_third_parties_methods_are_known(self) -> None:
        assert set(methods.available()) == {*methods.METHODS, "theirs", "broken", "absent"}
        assert methods.load("theirs").__name__ == "Original"

    @pytest.mark.usefixtures("theirs")
    def test_ours_go_before_theirs_of_the_same_name(self) -> None:
        assert methods.load("mugan") is MuGAN

    @pytest.mark.usefixtures("theirs")
    @pytest.mark.parametrize("name", ["broken", "absent"])
    def test_a_method_that_cannot_be_loaded_is_named(self, name: str) -> None:
        with pytest.raises(InvalidRequest, match=f"method '{name}' cannot be loaded: "):
            methods.load(name)

    def test_knowing_a_name_loads_no_method(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(methods.METHODS, "mugan", "tests.no_such_module:Method")
        methods.check_known("mugan")
        assert "tests.no_such_module" not in sys.modules

    @pytest.mark.parametrize("name", methods.METHODS)
    def test_every_method_is_a_frozen_value_with_valid_defaults(self, name: str) -> None:
        method = methods.make(name, {})
        assert methods.make(name, {}) == method
        assert isinstance(method.needs, frozenset)
        for field in fields(method):  # type: ignore[arg-type]
            with pytest.raises(FrozenInstanceError):
                setattr(method, field.name, getattr(method, field.name))

    @pytest.mark.parametrize("name", methods.METHODS)
    def test_hyperparameters_are_the_fields_with_their_defaults(self, name: str) -> None:
        method = methods.make(name, {})
        assert methods.hyperparameters(name) == vars(method)
        assert "needs" not in methods.hyperparameters(name)

    def test_the_defaults_are_the_thesis(self) -> None:
        assert MuGAN() == MuGAN(
            learning_rate=1e-4,
            samples_per_class=2500,
            temperature=4.0,
            forget_batch_size=32,
            retain_batch_size=64,
            direction="reference",
        )
        assert Retrain() == Retrain(epochs=30, learning_rate=1e-3, batch_size=64)
        assert (Finetune().epochs, Finetune().batch_size) == (5, 64)


class TestMake:
    """Hyperparameters are checked by name, type and value."""

    def test_what_is_not_given_keeps_its_default(self) -> None:
        assert methods.make("mugan", {"temperature": 2.0}) == MuGAN(temperature=2.0)

    def test_an_unknown_hyperparameter_gets_a_suggestion(self) -> None:
        with pytest.raises(InvalidRequest, match="did you mean 'learning_rate'") as caught:
            methods.make("mugan", {"learning_rat": 0.1})
        assert "unknown hyperparameter of mugan" in str(caught.value)

    def test_what_is_no_hyperparameter_cannot_be_set(self) -> None:
        with pytest.raises(InvalidRequest, match="unknown hyperparameter"):
            methods.make("mugan", {"needs": frozenset()})

    @given(st.integers(1, 10**9))
    def test_a_whole_number_becomes_a_float_where_one_is_needed(self, number: int) -> None:
        method = methods.make("finetune", {"learning_rate": number})
        assert isinstance(method, Finetune)
        assert method.learning_rate == number
        assert type(method.learning_rate) is float

    @pytest.mark.parametrize(
        ("name", "values", "said"),
        [
            ("finetune", {"epochs": 2.0}, "finetune: epochs is 2.0; a whole number is needed"),
            ("finetune", {"epochs": True}, "epochs is True; a whole number is needed"),
            ("finetune", {"epochs": "5"}, "epochs is '5'; a whole number is needed"),
            ("finetune", {"epochs": None}, "epochs is None"),
            ("finetune", {"learning_rate": "0.1"}, "learning_rate is '0.1'; a number is needed"),
            ("finetune", {"learning_rate": True}, "learning_rate is True; a number is needed"),
            ("finetune", {"learning_rate": 0.0}, "learning_rate is 0; it must be above 0"),
            ("finetune", {"learning_rate": 0}, "learning_rate is 0; it must be above 0"),
            ("finetune", {"learning_rate": -1e-3}, "learning_rate is -0.001"),
            ("finetune", {"learning_rate": float("nan")}, "learning_rate is nan"),
            ("finetune", {"learning_rate": float("inf")}, "learning_rate is inf"),
            ("finetune", {"epochs": 0}, "epochs is 0; possible: 1 or more"),
            ("finetune", {"batch_size": 1}, "batch_size is 1; possible: 2 or more"),
            ("retrain", {"epochs": -1}, "retrain: epochs is -1"),
            ("retrain", {"learning_rate": 0.0}, "learning_rate is 0"),
            ("retrain", {"batch_size": 1}, "batch_size is 1"),
            ("mugan", {"learning_rate": 0.0}, "mugan: learning_rate is 0"),
            ("mugan", {"temperature": 0.0}, "temperature is 0; it must be above 0"),
            ("mugan", {"temperature": float("inf")}, "temperature is inf"),
            ("mugan", {"samples_per_class": 1}, "samples_per_class is 1; possible: 2 or more"),
            (
                "mugan",
                {"samples_per_class": 99.5},
                "samples_per_class is 99.5; a whole number is needed",
            ),
            ("mugan", {"forget_batch_size": 1}, "forget_batch_size is 1"),
            ("mugan", {"retain_batch_size": 0}, "retain_batch_size is 0"),
            ("mugan", {"direction": "both"}, "direction is 'both'; possible: reference, model"),
            ("mugan", {"direction": 1}, "direction is 1; possible: reference, model"),
        ],
    )
    def test_an_impossible_value_is_refused(
        self, name: str, values: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(InvalidRequest) as caught:
            methods.make(name, values)
        assert said in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("finetune", {"learning_rate": 1e-30, "epochs": 1, "batch_size": 2}),
            ("retrain", {"epochs": 1, "batch_size": 2}),
            ("mugan", {"samples_per_class": 2, "forget_batch_size": 2, "direction": "model"}),
        ],
    )
    def test_the_least_possible_values_are_taken(self, name: str, values: dict[str, Any]) -> None:
        method = methods.make(name, values)
        assert {key: getattr(method, key) for key in values} == values

    @pytest.mark.parametrize("key", ["learning_rate", "epochs"])
    def test_a_number_beyond_all_floats_is_an_invalid_request(self, key: str) -> None:
        with pytest.raises(InvalidRequest):
            methods.make("finetune", {key: 10**400})


STRANGE = (
    *(10**30, -(10**30), 2**63, 1 << 20_000, 1e308, -1e31, math.inf, -math.inf, math.nan),
    *(True, "x" * 5_000, "", None, [], {}, b"x"),
)


@pytest.mark.parametrize("name", methods.METHODS)
def test_whatever_a_hyperparameter_is_given_it_is_taken_or_refused_in_a_line(name: str) -> None:
    for key, default in methods.hyperparameters(name).items():
        for value in STRANGE:
            said, chosen = "taken", default
            try:
                chosen = getattr(methods.make(name, {key: value}), key)
            except InvalidRequest as error:
                said = str(error)
            assert len(said) < 400
            assert len(said.splitlines()) == 1
            assert type(chosen) is type(default)
            assert isinstance(chosen, bool | str) or abs(chosen) <= 1e30
