"""Search spaces: what they vary, within what bounds, and that methods take every suggestion."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

import spaces
from trainables import methods

BATCH_NORM = CategoricalDistribution(["train", "frozen"])
SCRUB: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
    "alpha": FloatDistribution(1e-3, 1.0, log=True),
    "gamma": FloatDistribution(0.1, 1.0),
    "max_steps": IntDistribution(1, 5),
    "epochs": IntDistribution(5, 10),
    "temperature": CategoricalDistribution([1.0, 2.0, 4.0]),
    "forget_batch_size": CategoricalDistribution([16, 64, 256]),
    "retain_batch_size": CategoricalDistribution([32, 64, 128]),
    "batch_norm": BATCH_NORM,
}

EXPECTED: dict[str, dict[str, BaseDistribution]] = {
    "original": {},
    "retrain": {},
    "mask": {},
    "finetune": {
        "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
        "epochs": IntDistribution(1, 10),
        "batch_size": CategoricalDistribution([64, 128, 256]),
        "batch_norm": BATCH_NORM,
    },
    "negative_gradient": {
        "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
        "epochs": IntDistribution(1, 5),
        "batch_size": CategoricalDistribution([32, 64, 128]),
        "batch_norm": BATCH_NORM,
    },
    "random_labels": {
        "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
        "epochs": IntDistribution(1, 5),
        "batch_size": CategoricalDistribution([32, 64, 128]),
        "batch_norm": BATCH_NORM,
    },
    "amnesiac": {
        "scale": FloatDistribution(0.1, 1.0),
        "repair_learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
        "repair_epochs": IntDistribution(0, 3),
    },
    "bad_teacher": {
        "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
        "epochs": IntDistribution(1, 5),
        "temperature": CategoricalDistribution([1.0, 2.0, 4.0]),
        "retain_fraction": FloatDistribution(0.1, 1.0),
        "batch_size": CategoricalDistribution([32, 64, 256]),
        "batch_norm": BATCH_NORM,
    },
    "scrub": SCRUB,
    "scrub_r": SCRUB,
    "unsir": {
        "impair_learning_rate": FloatDistribution(1e-5, 5e-2, log=True),
        "repair_learning_rate": FloatDistribution(1e-5, 5e-2, log=True),
        "noise_steps": IntDistribution(10, 100),
        "noise_weight": FloatDistribution(0.01, 1.0, log=True),
        "noise_batches": IntDistribution(5, 50),
        "samples_per_class": IntDistribution(100, 1_000, log=True),
        "batch_norm": BATCH_NORM,
    },
    "jit": {
        "learning_rate": FloatDistribution(1e-8, 1e-2, log=True),
        "sigma": FloatDistribution(0.05, 1.0),
        "perturbations": CategoricalDistribution([10, 25, 50, 100]),
        "epochs": IntDistribution(1, 3),
        "batch_norm": BATCH_NORM,
    },
    "gkt": {
        "student_learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "generator_learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "threshold": FloatDistribution(1e-3, 0.3, log=True),
        "beta": CategoricalDistribution([0.0, 50.0, 250.0]),
        "pseudo_batches": IntDistribution(200, 4_000, log=True),
    },
    "emmn": {
        "learning_rate": FloatDistribution(1e-6, 1e-2, log=True),
        "noise_batch": CategoricalDistribution([4, 16, 64]),
        "repeats": IntDistribution(20, 100),
        "noise_weight": FloatDistribution(0.01, 1.0, log=True),
        "epochs": IntDistribution(1, 3),
        "repair_epochs": IntDistribution(0, 2),
        "batch_size": CategoricalDistribution([4, 16, 64, 256]),
        "batch_norm": BATCH_NORM,
    },
    "zmugan": {
        "learning_rate": FloatDistribution(1e-6, 1e-1, log=True),
        "generators": IntDistribution(1, 5),
        "samples_per_generator": IntDistribution(100, 2_000, log=True),
        "temperature": CategoricalDistribution([1.0, 2.0, 4.0, 8.0]),
        "forget_batch_size": CategoricalDistribution([16, 32, 64]),
        "retain_batch_size": CategoricalDistribution([32, 64, 128]),
        "batch_norm": BATCH_NORM,
    },
    "zdelete": {
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "epochs": IntDistribution(1, 10),
        "generators": IntDistribution(1, 5),
        "samples_per_generator": IntDistribution(100, 1_000, log=True),
        "batch_size": CategoricalDistribution([32, 64, 128]),
        "layers": CategoricalDistribution([2, 3, 5, 8]),
        "head_epochs": IntDistribution(0, 4),
    },
    "mugan": {
        "learning_rate": FloatDistribution(1e-6, 1e-1, log=True),
        "samples_per_class": IntDistribution(100, 10_000, log=True),
        "temperature": CategoricalDistribution([1.0, 2.0, 4.0, 8.0]),
        "forget_batch_size": CategoricalDistribution([16, 32, 64]),
        "retain_batch_size": CategoricalDistribution([32, 64, 128]),
        "batch_norm": BATCH_NORM,
    },
}
"""Every space, as the thesis' tables and the notes on methods give it."""


def asked(method: str, seed: int = 0) -> tuple[dict[str, Any], optuna.Trial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    return spaces.load(method)(trial), trial


@pytest.fixture(autouse=True)
def quiet() -> None:
    """No line for each study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_every_method_has_a_space_and_every_space_a_method() -> None:
    assert spaces.SPACES.keys() == methods.METHODS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("method", methods.METHODS)
class TestSpace:
    """Each space against its method."""

    def test_its_bounds_are_those_of_the_thesis(self, method: str) -> None:
        _, trial = asked(method)
        assert trial.distributions == EXPECTED[method]

    def test_it_suggests_only_hyperparameters_that_the_method_has(self, method: str) -> None:
        suggested, trial = asked(method)
        assert suggested.keys() <= methods.hyperparameters(method).keys()
        assert suggested == trial.params, "what is suggested is returned under the same name"

    def test_the_method_takes_every_suggestion(self, method: str) -> None:
        for seed in range(30):
            suggested, _ = asked(method, seed)
            made = methods.make(method, suggested)
            assert {key: getattr(made, key) for key in suggested} == suggested

    def test_the_method_takes_both_ends_of_every_bound(self, method: str) -> None:
        for name, bounds in EXPECTED[method].items():
            ends = (
                bounds.choices
                if isinstance(bounds, CategoricalDistribution)
                else (bounds.low, bounds.high)  # type: ignore[attr-defined]
            )
            for end in ends:
                assert getattr(methods.make(method, {name: end}), name) == end

    def test_the_defaults_of_the_method_lie_in_it(self, method: str) -> None:
        defaults = methods.hyperparameters(method)
        inside = {name: defaults[name] for name in EXPECTED[method]}
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # optuna warns of a value out of bounds
            trial: Any = optuna.trial.FixedTrial(inside)
            assert spaces.load(method)(trial) == inside


class Entry(NamedTuple):
    """An entry point of a third party."""

    name: str
    value: str


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Third parties offer spaces, one of them under our name."""
    entries = [
        Entry("theirs", "spaces.finetune:suggest"),
        Entry("mugan", "spaces.fixed:suggest"),
        Entry("broken", "no_such_package.module:suggest"),
    ]

    def entry_points(group: str) -> list[Entry]:
        return entries if group == "forgetune.spaces" else []

    monkeypatch.setattr(spaces, "entry_points", entry_points)


@pytest.mark.usefixtures("theirs")
def test_third_parties_spaces_are_found_and_ours_go_first() -> None:
    assert asked("theirs")[1].distributions == EXPECTED["finetune"]
    assert asked("mugan")[1].distributions == EXPECTED["mugan"]


@pytest.mark.usefixtures("theirs")
def test_a_broken_space_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        spaces.load("broken")


def test_a_method_without_a_space_has_nothing_to_search() -> None:
    suggested, trial = asked("somebodys-own")
    assert suggested == {}
    assert trial.distributions == {}
