"""One trial: how it ends, what is recorded, what it may never change."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.toys import same, state
from trainables import costs, methods
from trainables.access import Access, Granted
from trainables.data.dataset import Samples
from trainables.errors import DataError, Diverged, InvalidRequest
from trainables.methods import mugan
from trainables.metrics.evaluate import Measured
from trainables.metrics.gap import gap
from trainables.models.answers import Answers
from trainables.outcome import CURVE, METRICS, Outcome, State
from trainables.scenario import Places
from trainables.training.passes import Plan
from trainables.trial import run_trial, run_trials_together, trial_phases
from trainables.workbench import Workbench

NOTHING: frozenset[Access] = frozenset()
SHORT: dict[str, dict[str, Any]] = {
    "original": {},
    "retrain": {"epochs": 1, "batch_size": 32},
    "finetune": {"epochs": 1, "batch_size": 32},
    "negative_gradient": {"epochs": 1},
    "random_labels": {"epochs": 1},
    "amnesiac": {"repair_epochs": 1},
    "bad_teacher": {"batch_size": 32},
    "scrub": {"epochs": 2, "max_steps": 1},
    "scrub_r": {"epochs": 2, "max_steps": 1},
    "unsir": {"noise_steps": 2, "noise_batches": 1, "samples_per_class": 50},
    "jit": {"perturbations": 2},
    "gkt": {"pseudo_batches": 4, "batch_size": 8, "student_steps": 1, "threshold": 0.5},
    "emmn": {"epochs": 1, "repeats": 2, "maximise_steps": 2, "minimise_steps": 2},
    "mugan": {"samples_per_class": 64, "learning_rate": 1e-3},
    "zmugan": {"samples_per_generator": 100, "generators": 2, "learning_rate": 1e-3},
}
"""Every method, cut short."""


@dataclass(frozen=True)
class Toy:
    """Does to the model what `deed` says, and yields it."""

    deed: ClassVar[Callable[[nn.Module, Granted], object]]
    strength: float = 1.0
    times: int = 2
    needs: ClassVar[frozenset[Access]] = NOTHING

    def unlearn(
        self, model: nn.Module, access: Granted, rng: torch.Generator
    ) -> Iterator[nn.Module]:
        for _ in range(self.times):
            yield model
            type(self).deed(model, access)
        yield model


@dataclass(frozen=True)
class Silent:
    """Yields nothing."""

    needs: ClassVar[frozenset[Access]] = NOTHING

    def unlearn(self, *_: object) -> Iterator[nn.Module]:
        yield from ()


def fill(value: float) -> Callable[[nn.Module, Granted], None]:
    """A deed: every weight becomes `value`."""

    def deed(model: nn.Module, _: Granted) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                weight.fill_(value)

    return deed


def throw(error: BaseException) -> Callable[[nn.Module, Granted], None]:
    """A deed: fail."""

    def deed(*_: object) -> None:
        raise error

    return deed


def spin(*_: object) -> None:
    """A deed: never come back."""
    while True:
        pass


def allocate_too_much(*_: object) -> Tensor:
    """A deed: ask the CPU for more than there are addresses."""
    return torch.empty(2**60, dtype=torch.float32)


Act = Callable[..., tuple[Outcome, nn.Module | None]]


@pytest.fixture
def act(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Act:
    """Runs a trial of a toy method that does this deed."""
    monkeypatch.setitem(methods.METHODS, "toy", f"{__name__}:Toy")

    def run(
        deed: Callable[[nn.Module, Granted], object],
        timeout: float | None = None,
        **values: Any,
    ) -> tuple[Outcome, nn.Module | None]:
        monkeypatch.setattr(Toy, "deed", staticmethod(deed), raising=False)
        return run_trial(bench, "toy", values, seed=0, timeout=timeout)

    return run


class TestFailures:
    """A failing trial is an outcome, and the next one works."""

    @pytest.mark.parametrize(
        ("deed", "timeout", "ended", "reason"),
        [
            (throw(ValueError("bad\nluck")), None, State.CRASHED, "ValueError: bad luck"),
            (throw(KeyError()), None, State.CRASHED, "KeyError: no message"),
            (throw(Diverged("the loss became nan")), None, State.DIVERGED, "Diverged: the loss"),
            (fill(float("nan")), None, State.DIVERGED, "Diverged: the weights became non-finite"),
            (fill(float("inf")), None, State.DIVERGED, "Diverged: the weights became non-finite"),
            (spin, 0.2, State.TIMEOUT, "TrialTimeout: the trial ran longer than 0.2 s"),
            (throw(MemoryError("host")), None, State.OOM, "MemoryError: host"),
            (throw(torch.OutOfMemoryError("CUDA")), None, State.OOM, "OutOfMemoryError: CUDA"),
            pytest.param(
                allocate_too_much,
                None,
                State.OOM,
                "RuntimeError: ",
            ),
            (
                lambda _, access: access.forget,
                None,
                State.CRASHED,
                "AccessDenied: the method reached for forget data; it declares nothing",
            ),
        ],
        ids=[
            "an error",
            "an error without words",
            "a diverged loss",
            "weights that are no numbers",
            "weights without bound",
            "a loop without end",
            "no memory of Python",
            "no memory of the GPU",
            "no memory of torch on the CPU",
            "undeclared data",
        ],
    )
    def test_it_ends_in_its_state_and_the_next_trial_works(
        self,
        act: Act,
        bench: Workbench,
        deed: Callable[[nn.Module, Granted], object],
        timeout: float | None,
        ended: State,
        reason: str,
    ) -> None:
        outcome, model = act(deed, timeout)
        assert outcome.state is ended
        assert outcome.reason is not None
        assert outcome.reason.startswith(reason)
        assert len(outcome.reason.splitlines()) == 1
        assert outcome.metrics == {}
        assert model is None
        assert outcome.unlearn_seconds is not None
        assert outcome.evaluate_seconds is None
        assert outcome.hyperparameters == {"strength": 1.0, "times": 2}

        after, _ = run_trial(bench, "original", {}, seed=0)
        assert after.state is State.COMPLETE
        figures = {name: after.metrics[name] for name in bench.references["base"]}
        assert figures == bench.references["base"]

    def test_a_method_that_yields_nothing_crashed(
        self, bench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(methods.METHODS, "silent", f"{__name__}:Silent")
        outcome, _ = run_trial(bench, "silent", {}, seed=0)
        assert (outcome.state, outcome.metrics) == (State.CRASHED, {})
        assert "yielded no model" in str(outcome.reason)

    def test_weights_are_checked_at_every_yield_and_not_only_at_the_end(self, act: Act) -> None:
        """The toy heals the weights that it spoilt, after a yield."""
        spoilt: list[bool] = []

        def deed(model: nn.Module, access: Granted) -> None:
            fill(0.0 if spoilt else float("nan"))(model, access)
            spoilt.append(True)

        outcome, _ = act(deed)
        assert outcome.state is State.DIVERGED
        assert len(spoilt) == 1

    def test_outputs_that_are_no_numbers_diverged(self, act: Act) -> None:
        outcome, _ = act(fill(1e38))
        assert outcome.state is State.DIVERGED

    def test_a_long_reason_is_cut(self, act: Act) -> None:
        outcome, _ = act(throw(ValueError("x" * 10_000)))
        assert len(str(outcome.reason)) == 500

    def test_an_interrupt_is_no_outcome(self, act: Act) -> None:
        with pytest.raises(KeyboardInterrupt):
            act(throw(KeyboardInterrupt()))

    def test_evaluation_is_under_the_time_limit_too(
        self, act: Act, bench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(bench), "evaluator", SimpleNamespace(measure=spin))
        outcome, model = act(lambda *_: None, 0.2)
        assert (outcome.state, outcome.metrics, model) == (State.TIMEOUT, {}, None)


class TestTimeLimit:
    """The alarm that ends a trial, and what it leaves behind."""

    def test_a_trial_within_its_limit_is_complete_and_the_alarm_is_off(self, act: Act) -> None:
        before = signal.getsignal(signal.SIGALRM)
        outcome, _ = act(lambda *_: None, 3_600)
        assert outcome.state is State.COMPLETE
        assert signal.getsignal(signal.SIGALRM) is before
        assert signal.getitimer(signal.ITIMER_REAL)[0] < 3_000

    def test_outside_the_main_thread_a_trial_runs_without_a_limit(self, act: Act) -> None:
        ends: list[State] = []
        thread = threading.Thread(target=lambda: ends.append(act(lambda *_: None, 60)[0].state))
        thread.start()
        thread.join()
        assert ends == [State.COMPLETE]

    def test_an_alarm_of_the_callers_own_still_rings(self, act: Act) -> None:
        running = signal.setitimer(signal.ITIMER_REAL, 3_000)
        try:
            act(lambda *_: None, 60)
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        finally:
            signal.setitimer(signal.ITIMER_REAL, *running)

    def test_the_time_between_two_phases_does_not_count(
        self, bench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A limit of which the first phase takes a part, and a caller who takes longer than that
        by a clock that only he and the method move."""
        monkeypatch.setitem(methods.METHODS, "toy", f"{__name__}:Toy")
        monkeypatch.setattr(Toy, "deed", staticmethod(lambda *_: None), raising=False)
        clock = [100.0]
        monkeypatch.setattr(
            costs,
            "time",
            SimpleNamespace(
                time=time.time, perf_counter=time.perf_counter, monotonic=lambda: clock[0]
            ),
        )
        phases = trial_phases(bench, "toy", {}, seed=0, timeout=60)
        for _ in range(3):
            outcome, _ = next(phases)
            assert outcome.state is State.PRUNED
            assert not 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
            clock[0] += 1_000
        assert next(phases)[0].state is State.COMPLETE

    def test_the_phases_share_one_limit(
        self, bench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [100.0]

        def deed(*_: object) -> None:
            clock[0] += 40

        monkeypatch.setitem(methods.METHODS, "toy", f"{__name__}:Toy")
        monkeypatch.setattr(Toy, "deed", staticmethod(deed), raising=False)
        monkeypatch.setattr(
            costs,
            "time",
            SimpleNamespace(
                time=time.time, perf_counter=time.perf_counter, monotonic=lambda: clock[0]
            ),
        )
        ends = [outcome for outcome, _ in trial_phases(bench, "toy", {}, seed=0, timeout=60)]
        assert [outcome.state for outcome in ends] == [*[State.PRUNED] * 2, State.TIMEOUT]
        assert ends[-1].reason == "TrialTimeout: the trial ran longer than 60 s"


class TestCurve:
    """What is recorded after each phase or epoch."""

    @pytest.mark.parametrize("method", SHORT)
    def test_looking_does_not_change_what_is_looked_at(self, bench: Workbench, method: str) -> None:
        plain, model = run_trial(bench, method, SHORT[method], seed=1)
        looked, other = run_trial(bench, method, SHORT[method], seed=1, curve=True)
        assert model is not None
        assert other is not None
        assert same(state(model), state(other))
        assert looked.metrics == plain.metrics
        assert plain.curve == []
        last = looked.curve[-1]
        assert tuple(last) == tuple(name for name in CURVE if not name.startswith("synthetic"))
        assert 0 <= last.pop("seconds") <= (looked.unlearn_seconds or 0)
        assert last == {name: looked.metrics[name] for name in last}

    @pytest.mark.parametrize(
        ("method", "values", "length"),
        [
            ("original", {}, 1),
            ("finetune", {"epochs": 3, "batch_size": 32}, 3),
            ("scrub", {"epochs": 3, "max_steps": 1}, 3),
            ("scrub_r", {"epochs": 3, "max_steps": 1}, 4),
            ("bad_teacher", {"epochs": 2}, 2),
            ("random_labels", {"epochs": 2}, 2),
            ("negative_gradient", {"epochs": 2}, 2),
            ("amnesiac", {"repair_epochs": 2}, 3),
            ("jit", {"perturbations": 1, "epochs": 2}, 2),
            ("gkt", {**SHORT["gkt"], "pseudo_batches": 12}, 10),
            ("emmn", {**SHORT["emmn"], "epochs": 2}, 3),
            ("unsir", SHORT["unsir"], 2),
            ("mugan", SHORT["mugan"], 2),
            ("zmugan", SHORT["zmugan"], 2),
        ],
    )
    def test_there_is_a_point_for_each_phase_or_epoch(
        self, bench: Workbench, method: str, values: dict[str, Any], length: int
    ) -> None:
        outcome, _ = run_trial(bench, method, values, seed=1, curve=True)
        assert len(outcome.curve) == length
        seconds = [point["seconds"] for point in outcome.curve]
        assert seconds == sorted(seconds)

    def test_each_step_is_what_the_trial_comes_to_if_it_is_left_there(
        self, bench: Workbench
    ) -> None:
        values = {"epochs": 2, "batch_size": 32}
        first, second, last = trial_phases(bench, "finetune", values, seed=3)
        for length, (outcome, model) in enumerate((first, second), start=1):
            assert (outcome.state, outcome.metrics, model) == (State.PRUNED, {}, None)
            assert len(outcome.curve) == length
        assert (last[0].state, last[0].curve) == (State.COMPLETE, second[0].curve)
        shorter, _ = run_trial(bench, "finetune", {**values, "epochs": 1}, seed=3)
        point = dict(first[0].curve[0])
        del point["seconds"]
        assert point == {name: shorter.metrics[name] for name in point}

    def test_a_trial_that_fails_keeps_the_curve_so_far(self, bench: Workbench, act: Act) -> None:
        act(throw(ValueError("late")))
        *_, (outcome, model) = trial_phases(bench, "toy", {}, seed=0)
        assert (outcome.state, outcome.metrics, model) == (State.CRASHED, {}, None)
        assert [point["gap"] for point in outcome.curve] == [
            gap(bench.references["base"], bench.references["retrained"])
        ]


class TestRequests:
    """What was asked wrongly is an exception, never an outcome."""

    @pytest.mark.parametrize(
        ("method", "values"),
        [("mugen", {}), ("mugan", {"rate": 1.0}), ("mugan", {"learning_rate": -1.0})],
    )
    def test_an_invalid_request_raises(
        self, bench: Workbench, method: str, values: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidRequest):
            run_trial(bench, method, values, seed=0)

    def test_an_unknown_group_of_metrics_raises(self, bench: Workbench) -> None:
        with pytest.raises(InvalidRequest, match="anamnesis"):
            run_trial(bench, "original", {}, seed=0, expensive=("amnesia",))

    def test_data_that_cannot_be_read_raises(self, bench: Workbench, places: Places) -> None:
        lost = replace(bench.scenario, dataset="/no/such/data.npz")
        with pytest.raises(DataError):
            run_trial(Workbench(lost, places, bench.device), "original", {}, seed=0)


class TestRecord:
    """What an outcome holds."""

    def test_hyperparameters_are_recorded_in_full(self, bench: Workbench) -> None:
        outcome, _ = run_trial(bench, "mugan", SHORT["mugan"], seed=11)
        assert outcome.hyperparameters == {
            "learning_rate": 1e-3,
            "samples_per_class": 64,
            "temperature": 4.0,
            "forget_batch_size": 32,
            "retain_batch_size": 64,
            "direction": "reference",
            "batch_norm": "train",
            "layers": "all",
        }
        assert (outcome.method, outcome.seed, outcome.state) == ("mugan", 11, State.COMPLETE)

    def test_a_row_replays_its_trial(self, bench: Workbench) -> None:
        first, _ = run_trial(bench, "mugan", SHORT["mugan"], seed=11)
        row = json.loads(json.dumps(asdict(first)))
        again, _ = run_trial(bench, row["method"], row["hyperparameters"], row["seed"])
        assert again.metrics == row["metrics"]
        assert again.hyperparameters == first.hyperparameters

    @pytest.mark.parametrize("method", SHORT)
    def test_every_metric_is_there_and_in_range(self, bench: Workbench, method: str) -> None:
        outcome, _ = run_trial(bench, method, SHORT[method], seed=0)
        asked_for = ("anamnesis", "relearn", "synthetic")
        expensive = {name for name in METRICS if name.startswith(asked_for)}
        assert outcome.metrics.keys() == METRICS.keys() - expensive
        assert all(0 <= value <= 100 for value in outcome.metrics.values())
        for prefix in ("", "test_"):
            expected = gap(outcome.metrics, bench.references["retrained"], prefix)
            assert outcome.metrics[f"{prefix}gap"] == expected

    def test_the_anamnesis_index_is_measured_where_it_is_asked_for(self, bench: Workbench) -> None:
        """By hand from its parts, for a method that leaves the knowledge where it was."""
        outcome, _ = run_trial(bench, "original", {}, seed=0, expensive=("anamnesis",))
        synthetic = {name for name in METRICS if name.startswith("synthetic")}
        assert outcome.metrics.keys() == METRICS.keys() - synthetic
        again, reference = bench.relearn(bench.base), bench.retrained_relearning
        assert outcome.metrics["relearn_steps"] == again.steps
        assert outcome.metrics["anamnesis_index"] == again.steps / reference.steps
        assert outcome.metrics["anamnesis_index"] < 1
        assert outcome.metrics["relearn_capped"] == float(again.capped or reference.capped)

    def test_models_that_trials_are_compared_with_relearn_too(self, bench: Workbench) -> None:
        """All but the control, which never would."""
        assert bench.measured(()) == bench.references
        found = bench.measured(("anamnesis",))
        assert found["retrained"]["relearn_steps"] == bench.retrained_relearning.steps
        assert found["retrained"]["anamnesis_index"] == 1
        assert found["base"]["relearn_steps"] == bench.relearn(bench.base).steps
        assert found["control"] == bench.references["control"]

    def test_the_synthetic_metrics_are_measured_where_they_are_asked_for(
        self, bench: Workbench
    ) -> None:
        """The original is the model that labelled the images: nothing forgotten, all retained."""
        outcome, _ = run_trial(bench, "original", {}, seed=0, expensive=("synthetic",), curve=True)
        found = {k: v for k, v in outcome.metrics.items() if k.startswith("synthetic")}
        assert found.pop("synthetic_retain_kl") == pytest.approx(0, abs=1e-6)
        assert found == {
            "synthetic_forget_accuracy": 100.0,
            "synthetic_retain_accuracy": 100.0,
            "synthetic_gap": 50.0,
        }
        assert {name: outcome.curve[0][name] for name in found} == found

    @pytest.mark.parametrize(
        ("method", "zero_shot"),
        [("zmugan", True), ("emmn", True), ("gkt", True), ("mugan", False), ("scrub", False)],
    )
    def test_a_trial_says_whether_it_needed_any_data(
        self, bench: Workbench, method: str, zero_shot: bool
    ) -> None:
        outcome, _ = run_trial(bench, method, SHORT[method], seed=0)
        assert outcome.zero_shot == zero_shot

    def test_zmugan_reports_what_fell_to_each_class(self, bench: Workbench) -> None:
        outcome, _ = run_trial(bench, "zmugan", SHORT["zmugan"], seed=0)
        assert sum(outcome.reported["samples_by_class"]) == 200
        few, model = run_trial(bench, "zmugan", {"samples_per_generator": 4}, seed=0)
        assert (few.state, few.metrics, model) == (State.STARVED, {}, None)
        assert "samples_per_generator" in str(few.reason)
        assert sum(few.reported["samples_by_class"]) == 20

    def test_the_retrained_model_diverges_from_itself_by_nothing(self, bench: Workbench) -> None:
        found = bench.references["retrained"]
        for name in ("kl_forget", "kl_retain", "js_forget", "js_retain", "weight_distance"):
            assert found[name] == pytest.approx(0, abs=1e-9)
        assert bench.references["base"]["kl_forget"] > 0.1

    def test_the_times_are_of_unlearning_and_of_evaluating_apart(
        self, act: Act, bench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By a clock that moves only when the method or the evaluator works."""
        clock = [100.0]
        monkeypatch.setattr(
            costs, "time", SimpleNamespace(time=time.time, perf_counter=lambda: clock[0])
        )
        evaluator = bench.evaluator

        def evaluate(answers: Answers) -> Measured:
            clock[0] += 3
            return evaluator.measure(answers)

        def deed(*_: object) -> None:
            clock[0] += 20

        monkeypatch.setattr(type(bench), "evaluator", SimpleNamespace(measure=evaluate))
        outcome, _ = act(deed)
        assert outcome.unlearn_seconds == 2 * 20
        assert outcome.evaluate_seconds == 3

    def test_samples_from_a_pool_count_as_if_the_trial_had_drawn_them(
        self, bench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is owed from before the trial is not its own."""
        owed = iter([7_000.0, 500.0])
        monkeypatch.setattr(bench, "settle_draws", lambda: next(owed, 0.0))
        outcome, _ = run_trial(bench, "mugan", {"samples_per_class": 20}, 0, pool=3)
        assert outcome.saved_seconds == 500
        assert outcome.unlearn_seconds is not None
        assert 500 < outcome.unlearn_seconds < 1_000

        owed = iter([7_000.0, 0.0, 500.0])
        values = [{"samples_per_class": 20}] * 2
        for outcome, _ in run_trials_together(bench, "mugan", values, [0, 1], pool=3):
            assert outcome.saved_seconds == 250
            assert outcome.unlearn_seconds is not None
            assert 250 < outcome.unlearn_seconds < 500

    def test_a_pool_and_not_the_seed_decides_on_the_samples(
        self, bench: Workbench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that impair-repair is handed, alone and together."""
        handed: list[Tensor] = []
        real = mugan.impair_repair

        def note(model: nn.Module, forget: Samples, *others: Any, **settings: Any) -> Plan:
            handed.append(forget.images.clone())
            return real(model, forget, *others, **settings)

        monkeypatch.setattr(mugan, "impair_repair", note)
        values = {"samples_per_class": 20}
        for seed, pool in ((0, 3), (1, 3), (1, 4), (0, None), (1, None)):
            run_trial(bench, "mugan", values, seed, pool=pool)
        run_trials_together(bench, "mugan", [values, values], [5, 6], pool=3)
        same_pool = [handed[0], handed[1], handed[5], handed[6]]
        assert all(torch.equal(images, handed[0]) for images in same_pool)
        others = [handed[0], handed[2], handed[3], handed[4]]
        assert len(torch.cat(others).flatten(1).unique(dim=0)) == 4 * 20

    def test_what_a_failing_trial_took_is_recorded(
        self, act: Act, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [100.0]
        monkeypatch.setattr(
            costs, "time", SimpleNamespace(time=time.time, perf_counter=lambda: clock[0])
        )

        def deed(*_: object) -> None:
            clock[0] += 20
            raise ValueError

        outcome, _ = act(deed)
        assert outcome.unlearn_seconds == 20

    def test_the_cost_of_the_gans_is_recorded_with_methods_that_use_them(
        self, bench: Workbench
    ) -> None:
        cost = sum(bench.prepare(f"gan {label}")["seconds"] for label in range(3))
        mugan, _ = run_trial(bench, "mugan", SHORT["mugan"], seed=0)
        original, _ = run_trial(bench, "original", {}, seed=0)
        assert mugan.prepare_seconds == pytest.approx(cost)
        assert original.prepare_seconds == 0

    def test_the_time_is_the_wall_clocks(self, bench: Workbench) -> None:
        before = time.time()
        outcome, _ = run_trial(bench, "original", {}, seed=0)
        assert before <= outcome.started <= outcome.finished <= time.time()


class TestRepeatability:
    """The same trial gives the same numbers; nothing shared changes."""

    @pytest.mark.parametrize("method", SHORT)
    def test_the_seed_and_nothing_else_decides_bit_for_bit(
        self, bench: Workbench, method: str
    ) -> None:
        states, figures = [], []
        for seed, unrelated in ((1, 1), (1, 2), (2, 1)):
            torch.manual_seed(unrelated)
            before = torch.get_rng_state()
            outcome, model = run_trial(bench, method, SHORT[method], seed)
            assert model is not None
            assert torch.equal(torch.get_rng_state(), before), "the global state was used"
            states.append(state(model))
            figures.append(outcome.metrics)
        assert same(states[0], states[1])
        assert figures[0] == figures[1]
        assert same(states[0], states[2]) == (method == "original")

    @pytest.mark.parametrize("method", SHORT)
    def test_no_method_changes_the_base_model_or_the_data(
        self, bench: Workbench, method: str
    ) -> None:
        def shared() -> dict[str, Tensor]:
            return {
                **state(bench.base),
                **{
                    f"{name} {kind}": getattr(getattr(bench.dataset, name), kind).clone()
                    for name in ("train", "validation", "test")
                    for kind in ("images", "labels")
                },
            }

        before = shared()
        _, model = run_trial(bench, method, SHORT[method], seed=1)
        assert model is not bench.base
        assert same(shared(), before)
        assert not bench.base.training

    def test_no_method_changes_the_gans(self, bench: Workbench) -> None:
        before = [state(generator) for generator in bench.gans.generators.values()]
        run_trial(bench, "mugan", SHORT["mugan"], seed=1)
        after = [state(generator) for generator in bench.gans.generators.values()]
        assert all(same(one, other) for one, other in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def seven_seeds(bench: Workbench) -> list[dict[str, float]]:
    """The metrics of MuGAN at a high rate on few samples."""
    values = {"learning_rate": 1e-2, "samples_per_class": 100}
    return [run_trial(bench, "mugan", values, seed)[0].metrics for seed in range(7)]


class TestMethods:
    """What the methods do on real images."""

    def test_the_original_is_the_base_model(self, bench: Workbench) -> None:
        outcome, model = run_trial(bench, "original", {}, seed=5)
        assert model is not None
        assert same(state(model), state(bench.base))
        figures = {name: outcome.metrics[name] for name in bench.references["base"]}
        assert figures == bench.references["base"]

    def test_retraining_by_the_recipe_and_seed_is_the_retrained_model(
        self, bench: Workbench
    ) -> None:
        scenario = bench.scenario
        recipe = {
            "epochs": scenario.epochs,
            "learning_rate": scenario.learning_rate,
            "batch_size": scenario.batch_size,
        }
        outcome, _ = run_trial(bench, "retrain", recipe, seed=scenario.seed + 1)
        assert outcome.metrics["gap"] == outcome.metrics["test_gap"] == 0
        figures = {name: outcome.metrics[name] for name in bench.references["retrained"]}
        assert figures == bench.references["retrained"]

    @pytest.mark.parametrize("prefix", ["", "test_"])
    def test_mugan_forgets_the_class_whatever_the_seed(
        self, seven_seeds: list[dict[str, float]], prefix: str
    ) -> None:
        assert max(metrics[f"{prefix}forget_accuracy"] for metrics in seven_seeds) < 20

    @pytest.mark.parametrize("prefix", ["", "test_"])
    def test_mugan_keeps_the_other_classes_with_most_seeds(
        self, seven_seeds: list[dict[str, float]], prefix: str
    ) -> None:
        """Without the repair pass half of the other images at most would stay correct."""
        kept = [metrics[f"{prefix}retain_accuracy"] for metrics in seven_seeds]
        assert max(kept) > 80
        assert median(kept) > 60

    def test_mugan_at_a_tiny_rate_changes_no_accuracy(self, bench: Workbench) -> None:
        values = {"learning_rate": 1e-7, "samples_per_class": 100}
        outcome, _ = run_trial(bench, "mugan", values, seed=0)
        for name in ("forget_accuracy", "test_forget_accuracy"):
            assert outcome.metrics[name] == pytest.approx(bench.references["base"][name], abs=5)
        assert outcome.metrics["retain_accuracy"] > 90

    def test_finetuning_keeps_the_other_classes(self, bench: Workbench) -> None:
        outcome, _ = run_trial(bench, "finetune", {"epochs": 2, "batch_size": 32}, seed=0)
        assert outcome.metrics["retain_accuracy"] > 90
