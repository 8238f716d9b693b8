"""Search spaces: how settings are written, what overrides do, what is refused."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.definition.space import (
    Choices,
    Fixed,
    Override,
    Range,
    SearchSpace,
    parse_override,
    parse_setting,
)
from tests.search.toys import only_line
from trainables import methods
from trainables.access import Access
from trainables.errors import InvalidRequest

MUGAN = {
    "learning_rate": "1e-06..0.1 (log)",
    "samples_per_class": "100..10000 (log, whole)",
    "temperature": "one of 1.0, 2.0, 4.0, 8.0",
    "forget_batch_size": "one of 16, 32, 64",
    "retain_batch_size": "one of 32, 64, 128",
    "batch_norm": "one of train, frozen",
}


def draws(space: SearchSpace, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Hyperparameters of `count` trials drawn at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(count)]


def refusal(method: str, overrides: dict[str, Override]) -> str:
    """The one line that a space is refused with."""
    with pytest.raises(InvalidRequest) as caught:
        SearchSpace(method, overrides)
    return only_line(str(caught.value))


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("epochs=-3", "epochs", -3),
        ("temperature=4.0", "temperature", 4.0),
        ("learning_rate=1e-3", "learning_rate", 1e-3),
        ("flag=true", "flag", True),
        ("flag=false", "flag", False),
        ("direction=model", "direction", "model"),
        ("learning_rate=1e-5..1e-2", "learning_rate", "1e-5..1e-2"),
        ("batch_size=16,32", "batch_size", [16, 32]),
        ("learning_rate=1,0.5", "learning_rate", [1, 0.5]),
        ("direction=model,reference", "direction", ["model", "reference"]),
        ("  epochs = 3 ", "epochs", 3),
        ("batch_size= 16 , 32", "batch_size", [16, 32]),
        ("direction=a=b", "direction", "a=b"),
    ],
)
def test_a_setting_is_read_as_it_is_written(text: str, name: str, value: Override) -> None:
    found = parse_setting(text)
    assert found == (name, value)
    assert type(found[1]) is type(value)


@pytest.mark.parametrize("text", ["", "epochs", "epochs=", "=3", "=", " = ", "epochs = "])
def test_a_setting_without_name_or_value_is_refused_with_the_three_forms(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_setting(text)
    message = only_line(str(caught.value))
    assert repr(text) in message
    assert "NAME=VALUE, NAME=A,B,C and NAME=LOW..HIGH" in message


@given(value=st.integers() | st.floats(allow_nan=False))
def test_a_number_survives_being_written_as_a_setting(value: float) -> None:
    _, found = parse_setting(f"x={value!r}")
    assert found == value
    assert type(found) is type(value)


def test_overrides_are_bounds_choices_or_a_fixed_value() -> None:
    assert parse_override("x", "1e-5..0.1") == Range(1e-5, 0.1)
    assert parse_override("x", " -3 .. 7 ") == Range(-3, 7)
    assert parse_override("x", [1, 2]) == Choices((1, 2))
    assert parse_override("x", ["a..b"]) == Choices(("a..b",))
    assert parse_override("x", 3) == Fixed(3)
    assert parse_override("x", "model") == Fixed("model")


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(ends=st.lists(NUMBERS, min_size=2, max_size=2).filter(lambda ends: ends[0] != ends[1]))
def test_bounds_are_read_if_they_rise_and_refused_if_they_fall(ends: list[float]) -> None:
    low, high = sorted(ends)
    assert parse_override("x", f"{low!r}..{high!r}") == Range(low, high)
    with pytest.raises(InvalidRequest, match="lower bound must be below the upper"):
        parse_override("x", f"{high!r}..{low!r}")


def test_bounds_the_wrong_way_round_are_refused_with_the_right_way() -> None:
    message = refusal("mugan", {"learning_rate": "0.1..1e-5"})
    assert "learning_rate = '0.1..1e-5'" in message
    assert "did you mean 1e-5..0.1?" in message


def test_bounds_that_are_equal_are_refused() -> None:
    assert "lower bound must be below" in refusal("mugan", {"learning_rate": "0.1..0.1"})


@pytest.mark.parametrize("text", ["..", "1..", "..1", "low..high", "1..two", "nan..nan"])
def test_bounds_without_two_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_override("x", text)
    assert repr(text) in only_line(str(caught.value))


def test_truth_values_are_no_bounds() -> None:
    with pytest.raises(InvalidRequest):
        parse_override("x", "true..5")


def test_an_empty_list_is_refused() -> None:
    assert "empty list" in refusal("mugan", {"temperature": []})


def test_without_overrides_the_space_is_the_method_s() -> None:
    assert SearchSpace("mugan").describe() == MUGAN


def test_a_method_without_hyperparameters_has_nothing_to_search() -> None:
    space = SearchSpace("original")
    assert space.describe() == {}
    assert draws(space, 2) == [{}, {}]


@pytest.mark.parametrize(
    ("name", "override", "described"),
    [
        ("learning_rate", "1e-5..1e-3", "1e-05..0.001 (log)"),
        ("epochs", "2..4", "2..4 (linear, whole)"),
        ("learning_rate", [0.1, 0.01], "one of 0.1, 0.01"),
        ("epochs", [1, 7], "one of 1, 7"),
        ("batch_size", [8, 16], "one of 8, 16"),
        ("batch_size", [8], "one of 8"),
        ("learning_rate", 0.01, "0.01"),
        ("epochs", 7, "7"),
        ("batch_size", 48, "48"),
    ],
)
def test_an_override_replaces_one_parameter_and_leaves_the_others(
    name: str, override: Override, described: str
) -> None:
    before = SearchSpace("finetune").describe()
    assert SearchSpace("finetune", {name: override}).describe() == {**before, name: described}


def test_fixed_parameters_are_described_last() -> None:
    assert list(SearchSpace("mugan", {"learning_rate": 0.1}).describe()) == [
        *[name for name in MUGAN if name != "learning_rate"],
        "learning_rate",
    ]


@settings(max_examples=30, deadline=None)
@given(
    rates=st.tuples(st.floats(1e-9, 1e-3), st.floats(2e-3, 1.0)),
    epochs=st.tuples(st.integers(1, 5), st.integers(6, 50)),
    sizes=st.lists(st.integers(2, 512), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 2**31),
)
def test_draws_obey_bounds_and_choices(
    rates: tuple[float, float], epochs: tuple[int, int], sizes: list[int], seed: int
) -> None:
    space = SearchSpace(
        "finetune",
        {
            "learning_rate": f"{rates[0]!r}..{rates[1]!r}",
            "epochs": f"{epochs[0]}..{epochs[1]}",
            "batch_size": list(sizes),
        },
    )
    for values in draws(space, 5, seed):
        assert rates[0] <= values["learning_rate"] <= rates[1]
        assert epochs[0] <= values["epochs"] <= epochs[1]
        assert type(values["epochs"]) is int
        assert values["batch_size"] in sizes


def test_the_whole_of_new_bounds_is_drawn_from() -> None:
    found = draws(SearchSpace("finetune", {"epochs": "11..13"}), 40)
    assert {values["epochs"] for values in found} == {11, 12, 13}


def test_whole_bounds_are_taken_for_a_float() -> None:
    found = draws(SearchSpace("mugan", {"learning_rate": "1..2"}), 5)
    assert all(1.0 <= values["learning_rate"] <= 2.0 for values in found)
    assert all(type(values["learning_rate"]) is float for values in found)


def test_a_fixed_value_is_given_to_every_trial_and_not_searched() -> None:
    space = SearchSpace("mugan", {"samples_per_class": 300, "temperature": 3.0})
    assert not {"samples_per_class", "temperature"} & set(space.distributions)
    study = optuna.create_study()
    trial = study.ask()
    values = space.suggest(trial)
    assert (values["samples_per_class"], values["temperature"]) == (300, 3.0)
    assert set(trial.params) == set(MUGAN) - {"samples_per_class", "temperature"}


def test_a_field_outside_the_space_can_be_fixed() -> None:
    space = SearchSpace("mugan", {"direction": "model"})
    assert space.describe() == {**MUGAN, "direction": "model"}
    assert "direction" not in space.distributions
    assert draws(space, 1)[0]["direction"] == "model"


def test_a_field_outside_the_space_can_be_searched_from_a_list() -> None:
    space = SearchSpace("mugan", {"direction": ["model", "reference"]})
    assert space.describe()["direction"] == "one of model, reference"
    assert {values["direction"] for values in draws(space, 30)} == {"model", "reference"}


def test_a_field_outside_the_space_has_no_bounds() -> None:
    message = refusal("mugan", {"direction": "1..2"})
    assert "direction is not in the search space of mugan" in message


def test_what_a_space_suggests_the_method_accepts() -> None:
    for name in methods.METHODS:
        for values in draws(SearchSpace(name), 5):
            methods.make(name, values)


@pytest.mark.parametrize("low", ["0", "-1", "-1e-3", "0.0"])
def test_bounds_of_a_logarithmic_float_must_be_above_zero(low: str) -> None:
    message = refusal("mugan", {"learning_rate": f"{low}..0.1"})
    assert "logarithmic" in message
    assert "above 0" in message


@pytest.mark.parametrize("low", ["0", "-5"])
def test_bounds_of_a_logarithmic_whole_number_must_be_one_or_more(low: str) -> None:
    message = refusal("mugan", {"samples_per_class": f"{low}..100"})
    assert "logarithmic" in message
    assert "1 or more" in message


@pytest.mark.parametrize("bounds", ["1.5..3", "1..2.5", "0.1..0.2"])
def test_bounds_of_a_whole_number_must_be_whole(bounds: str) -> None:
    message = refusal("finetune", {"epochs": bounds})
    assert "epochs" in message
    assert "whole number" in message


def test_whole_bounds_may_be_written_as_floats() -> None:
    assert SearchSpace("finetune", {"epochs": "1.0..3e0"}).describe()["epochs"].startswith("1..3 ")


def test_endless_bounds_of_a_whole_number_are_refused() -> None:
    assert "samples_per_class" in refusal("mugan", {"samples_per_class": "100..inf"})


def test_endless_bounds_of_a_float_are_refused() -> None:
    assert "bounds are written LOW..HIGH" in refusal("mugan", {"learning_rate": "1e-5..inf"})


def test_bounds_of_a_categorical_parameter_are_refused_with_its_choices() -> None:
    message = refusal("mugan", {"forget_batch_size": "16..64"})
    assert "forget_batch_size = 16..64" in message
    assert "one of 16, 32, 64" in message


def test_an_unknown_hyperparameter_is_refused_with_the_nearest_one() -> None:
    message = refusal("mugan", {"lerning_rate": 0.1})
    assert "unknown hyperparameter of mugan 'lerning_rate'" in message
    assert "did you mean 'learning_rate'?" in message
    assert "forgetune spaces mugan" in message


@pytest.mark.parametrize("override", ["1..2", [1, 2], 1])
def test_an_unknown_hyperparameter_is_refused_in_every_form(override: Override) -> None:
    assert "unknown hyperparameter" in refusal("finetune", {"temperature": override})


def test_an_unknown_method_is_refused_with_the_nearest_one() -> None:
    assert "did you mean 'mugan'?" in refusal("mugn", {})


@pytest.mark.parametrize(
    ("overrides", "wrong"),
    [
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"learning_rate": True}, "learning_rate is True"),
        ({"samples_per_class": 1}, "samples_per_class is 1"),
        ({"samples_per_class": 100.5}, "samples_per_class is 100.5"),
        ({"direction": "sideways"}, "possible: reference, model"),
        ({"direction": ["model", "sideways"]}, "direction is 'sideways'"),
        ({"learning_rate": [0.1, -1]}, "learning_rate is -1"),
        ({"learning_rate": [-1, 0.1]}, "learning_rate is -1"),
        ({"samples_per_class": "1..500"}, "samples_per_class is 1"),
        ({"temperature": [1.0, 0]}, "temperature is 0"),
    ],
)
def test_an_impossible_value_is_refused_wherever_it_stands(
    overrides: dict[str, Override], wrong: str
) -> None:
    message = refusal("mugan", overrides)
    assert message.startswith("mugan: ")
    assert wrong in message


DIFFERENT: list[dict[str, Override]] = [
    {},
    {"learning_rate": 0.01},
    {"learning_rate": 0.02},
    {"learning_rate": [0.01, 0.02]},
    {"learning_rate": "0.01..0.02"},
    {"learning_rate": "0.01..0.03"},
    {"learning_rate": "0.005..0.02"},
    {"direction": "model"},
    {"direction": "reference"},
    {"temperature": [1.0, 2.0]},
    {"temperature": [1.0, 2.0, 4.0]},
    {"samples_per_class": "100..1000"},
]


def test_different_spaces_have_different_fingerprints() -> None:
    prints = [SearchSpace("mugan", overrides).fingerprint() for overrides in DIFFERENT]
    for one, other in combinations(range(len(DIFFERENT)), 2):
        assert prints[one] != prints[other], (DIFFERENT[one], DIFFERENT[other])


def print_of(monkeypatch: pytest.MonkeyPatch, **how: Any) -> str:
    """The fingerprint of a space in which epochs vary from 1 to 9, in this way."""

    def suggest(trial: optuna.Trial) -> dict[str, Any]:
        return {"epochs": trial.suggest_int("epochs", 1, 9, **how)}

    monkeypatch.setattr("spaces.load", lambda method: suggest)
    return SearchSpace("finetune").fingerprint()


def test_the_scale_of_a_parameter_is_part_of_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert print_of(monkeypatch) == print_of(monkeypatch, log=False)
    assert print_of(monkeypatch) != print_of(monkeypatch, log=True)


def test_the_step_of_a_parameter_is_part_of_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert print_of(monkeypatch, step=2) != print_of(monkeypatch, step=4)


def test_equal_spaces_have_equal_fingerprints_however_they_were_written() -> None:
    one = SearchSpace(
        "mugan", {"learning_rate": "1e-3..0.1", "temperature": 2.0, "direction": "model"}
    )
    other = SearchSpace(
        "mugan", {"direction": "model", "temperature": 2.0, "learning_rate": "0.001..1e-1"}
    )
    assert one.fingerprint() == other.fingerprint()
    assert SearchSpace("mugan", {"samples_per_class": "100..10000"}).fingerprint() == (
        SearchSpace("mugan").fingerprint()
    )


BOUNDS = st.tuples(st.integers(2, 99), st.integers(100, 99_999))


@settings(max_examples=8, deadline=None)
@given(one=BOUNDS, other=BOUNDS)
@example(one=(2, 99_999), other=(2, 99_999))
@example(one=(2, 99_999), other=(2, 99_998))
@example(one=(3, 500), other=(2, 500))
def test_fingerprints_are_equal_exactly_when_the_bounds_are(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    prints = [
        SearchSpace("mugan", {"samples_per_class": f"{low}..{high}"}).fingerprint()
        for low, high in (one, other)
    ]
    assert (prints[0] == prints[1]) == (one == other)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("learning_rate", "0.01..0.1234567", "0.01..0.1234568"),
        ("samples_per_class", "100..1234567", "100..1234568"),
    ],
)
def test_bounds_that_differ_in_the_seventh_digit_have_different_fingerprints(
    name: str, one: str, other: str
) -> None:
    assert (
        SearchSpace("mugan", {name: one}).fingerprint()
        != SearchSpace("mugan", {name: other}).fingerprint()
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, 5),
        ({"generators": "1..3"}, 3),
        ({"generators": "2..17"}, 17),
        ({"generators": [4, 9, 2]}, 9),
        ({"generators": [1]}, 1),
        ({"generators": 3}, 3),
        ({"generators": 40}, 40),
        ({"samples_per_generator": 10_000}, 5),
    ],
)
def test_the_largest_value_of_a_hyperparameter_is_what_trials_can_draw(
    overrides: dict[str, Override], expected: int
) -> None:
    space = SearchSpace("zmugan", overrides)
    assert space.largest("generators") == expected
    drawn = {values["generators"] for values in draws(space, 200)}
    assert max(drawn) == expected


@pytest.mark.parametrize(
    ("method", "overrides", "expected"),
    [
        ("zdelete", {}, {Access.INVERTED}),
        ("zdelete", {"source": "gans"}, {Access.GANS}),
        ("zdelete", {"source": ["inverted", "gans"]}, {Access.INVERTED, Access.GANS}),
        ("finetune", {}, {Access.RETAIN}),
    ],
)
def test_a_space_needs_what_some_trial_of_it_may_touch(
    method: str, overrides: dict[str, Any], expected: set[Access]
) -> None:
    assert SearchSpace(method, overrides).needs == expected


def test_the_largest_value_of_one_that_does_not_vary_is_its_default() -> None:
    assert SearchSpace("scrub").largest("weight_decay") == methods.make("scrub", {}).weight_decay  # type: ignore[attr-defined]
    assert SearchSpace("scrub", {"weight_decay": 0.25}).largest("weight_decay") == 0.25
    assert SearchSpace("scrub", {"weight_decay": [0.5, 0.125]}).largest("weight_decay") == 0.5


@pytest.mark.parametrize("method", ["mugan", "finetune", "original", "gkt"])
def test_a_hyperparameter_that_a_method_has_not_has_no_largest_value(method: str) -> None:
    assert SearchSpace(method).largest("generators") is None


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learning_rate=-1e308..1e308", "bounds are up to 1e+30"),
        ("samples_per_class=2..9007199254740993", "bounds of whole numbers are up to"),
        ("learning_rate=1..1" + "0" * 400, "bounds are written LOW..HIGH"),
        ("learning_rate=1..1e400", "bounds are written LOW..HIGH"),
        ("learning_rate=nan,1", "possible: -1e+30 to 1e+30"),
    ],
)
def test_bounds_that_samplers_cannot_reckon_with_are_refused(setting: str, said: str) -> None:
    name, override = parse_setting(setting)
    with pytest.raises(InvalidRequest) as caught:
        SearchSpace("mugan", {name: override})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


class TestLayers:
    """A hyperparameter that is a word or a number."""

    @pytest.mark.parametrize(
        ("text", "drawn"),
        [("layers=all", {"all"}), ("layers=3", {3}), ("layers=2,all", {2, "all"})],
    )
    def test_it_is_set_as_any_other(self, text: str, drawn: set[Any]) -> None:
        name, override = parse_setting(text)
        space = SearchSpace("finetune", {name: override})
        assert {values["layers"] for values in draws(space, 50)} == drawn

    def test_it_varies_over_bounds_only_where_it_varies(self) -> None:
        assert "not in the search space" in refusal("finetune", {"layers": "1..4"})
        assert "give a value or a list" in refusal("zdelete", {"layers": "1..4"})

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("none", "layers is 'none'; possible: all, or a number"),
            (True, "layers is True; possible: all, or a number"),
            (2.5, "layers is 2.5; a whole number is needed"),
            ([2, 0], "layers is 0; possible: all, or a whole number from 1 up"),
            ([3, "some"], "layers is 'some'; possible: all, or a number"),
        ],
    )
    def test_other_words_and_numbers_are_refused(self, override: Override, message: str) -> None:
        assert message in refusal("finetune", {"layers": override})

    def test_its_largest_value_is_a_number(self) -> None:
        assert SearchSpace("finetune", {"layers": [4, "all", 2]}).largest("layers") == 4
        assert SearchSpace("finetune", {"layers": "all"}).largest("layers") is None
        assert SearchSpace("finetune").largest("layers") is None
        assert SearchSpace("zdelete").largest("layers") == 8
