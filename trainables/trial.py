"""One trial: scenario + method + seed -> outcome. No ray, no optuna."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from trainables import methods
from trainables.access import ZERO_SHOT, Granted
from trainables.costs import (
    TimeLimit,
    device_memory_mb,
    device_name,
    peak_memory_mb,
    stopwatch,
)
from trainables.errors import Diverged, InvalidRequest, TooFewSamples, TrialTimeout, unknown
from trainables.metrics import anamnesis
from trainables.metrics.evaluate import Measured
from trainables.metrics.gap import distances
from trainables.models.answers import Answers, answers_of
from trainables.models.classifier import Classifier, full_precision
from trainables.models.copies import clone
from trainables.outcome import CURVE, EXPENSIVE, Outcome, State
from trainables.training.fused import Stack, run_together
from trainables.training.passes import Plan
from trainables.training.supervised import check_finite
from trainables.workbench import Workbench

NOTHING_MEASURED = Measured({}, {})


def run_trial(
    workbench: Workbench,
    method: str,
    values: dict[str, Any],
    seed: int,
    timeout: float | None = None,
    expensive: tuple[str, ...] = (),
    curve: bool = False,
    pool: int | None = None,
) -> tuple[Outcome, nn.Module | None]:
    """Run one method on a clone of the base model; the outcome, and the unlearned model if any.

    `values` are hyperparameters; those not given keep their defaults. `timeout` is in seconds;
    `expensive` names the groups of `trainables.outcome.EXPENSIVE` that are to be measured too;
    `curve` asks for an evaluation after each phase or epoch. With a `pool`, a seed, samples of
    generators are cut from those that all trials with this pool share, instead of being drawn by
    the trial's own seed. Raises InvalidRequest for an unknown method or hyperparameter and whatever
    keeps the workbench from being set up; a failure of the trial itself is an outcome, never an
    exception.
    """
    *_, last = trial_phases(workbench, method, values, seed, timeout, expensive, curve, pool)
    return last


def trial_phases(
    workbench: Workbench,
    method: str,
    values: dict[str, Any],
    seed: int,
    timeout: float | None = None,
    expensive: tuple[str, ...] = (),
    curve: bool = True,
    pool: int | None = None,
) -> Iterator[tuple[Outcome, nn.Module | None]]:
    """`run_trial` in steps: what came last is the trial's end.

    With `curve`, first yields after each phase or epoch what the trial comes to if it is left
    there: an outcome in the state `pruned`, with the curve so far. The time that the caller takes
    between two steps does not count.
    """
    trial = _Trial(workbench, method, values, seed, expensive, pool)
    limit = TimeLimit(timeout)
    unlearned: nn.Module | None = None
    try:
        model = workbench.learner()
        rng = torch.Generator(workbench.device).manual_seed(seed)
        phases = trial.method.unlearn(model, trial.access, rng)
        while True:
            with limit, trial.timed("unlearn_seconds"):
                following = next(phases, None)
                if following is not None:
                    check_finite(following)
            trial.charge_draws()
            if following is None:
                break
            unlearned = following
            if curve:
                with limit, trial.timed("evaluate_seconds"), full_precision(unlearned):
                    answers = answers_of(unlearned)
                    point = _on_validation(workbench, answers, expensive)
                trial.points.append({"seconds": trial.costs["unlearn_seconds"], **point})
                yield trial.outcome(State.PRUNED), None
        if unlearned is None:
            raise RuntimeError("the method yielded no model")
        with limit, trial.timed("evaluate_seconds"), full_precision(unlearned):
            measured = _measure(workbench, unlearned, answers_of(unlearned), expensive)
        yield trial.outcome(State.COMPLETE, measured), _to_keep(unlearned)
    except Exception as error:  # a failing trial must never take the study down
        yield trial.failed(error), None


def run_trials_together(
    workbench: Workbench,
    method: str,
    values: Sequence[dict[str, Any]],
    seeds: Sequence[int],
    timeout: float | None = None,
    expensive: tuple[str, ...] = (),
    pool: int | None = None,
) -> list[tuple[Outcome, nn.Module | None]]:
    """`run_trial` of several trials of one study at once; what came of each, in their order.

    Their steps are one batched computation as far as they are alike (`trainables.training.fused`),
    with results that equal separate ones up to rounding. Their seconds are shared out evenly, those
    of evaluation among the trials that come to it.
    `timeout` is in seconds of each trial's share. Raises InvalidRequest as `run_trial` does, and
    for a method that is no plan of passes.
    """
    trials = [
        _Trial(workbench, method, chosen, seed, expensive, pool, together=len(seeds))
        for chosen, seed in zip(values, seeds, strict=True)
    ]
    limit = TimeLimit(None if timeout is None else timeout * len(trials))
    spent = {"unlearn_seconds": 0.0, "evaluate_seconds": 0.0}
    try:
        with limit, stopwatch(spent, "unlearn_seconds", workbench.device):
            stack = Stack(workbench.learner(), len(trials))
            rngs = [torch.Generator(workbench.device).manual_seed(seed) for seed in seeds]
            plans = [
                _plan(trial.method)(model, trial.access, rng)
                for trial, model, rng in zip(trials, stack.models, rngs, strict=True)
            ]
            failures = run_together(stack, plans, rngs)
    except InvalidRequest:
        raise
    except Exception as error:  # of no trial in particular
        return [(trial.failed(error), None) for trial in trials]
    saved = workbench.settle_draws() / len(trials)
    found: list[Measured | Exception] = []
    for model, failure, answers in zip(stack.models, failures, stack.answers(), strict=True):
        try:
            if failure is not None:
                raise failure
            watch = stopwatch(spent, "evaluate_seconds", workbench.device)
            with limit, watch, full_precision(model):
                found.append(_measure(workbench, model, answers, expensive))
        except Exception as error:
            found.append(error)
    ended: list[tuple[Outcome, nn.Module | None]] = []
    for trial, model, failure, measured in zip(trials, stack.models, failures, found, strict=True):
        trial.costs["unlearn_seconds"] = spent["unlearn_seconds"] / len(trials) + saved
        trial.costs["saved_seconds"] = saved
        if failure is None:
            trial.costs["evaluate_seconds"] = spent["evaluate_seconds"] / failures.count(None)
        if isinstance(measured, Exception):
            ended.append((trial.failed(measured), None))
        else:
            ended.append((trial.outcome(State.COMPLETE, measured), _to_keep(clone(model))))
    return ended


def _to_keep(model: nn.Module) -> nn.Module:
    """In full precision, and in the layout in which weights are saved, which may not be that in
    which they are fast."""
    if isinstance(model, Classifier):
        model.autocast_to = None
    return model.to(memory_format=torch.contiguous_format)


def _plan(method: Any) -> Callable[[nn.Module, Granted, torch.Generator], Plan]:
    if not hasattr(method, "plan"):
        raise InvalidRequest(f"trials of {type(method).__name__} cannot share their steps")
    plan: Callable[[nn.Module, Granted, torch.Generator], Plan] = method.plan
    return plan


class _Trial:
    """A trial under way: its method, what it may touch, what it has cost so far.

    `together` is how many trials share its steps. Raises as `run_trial` does.
    """

    def __init__(
        self,
        workbench: Workbench,
        method: str,
        values: dict[str, Any],
        seed: int,
        expensive: tuple[str, ...],
        pool: int | None,
        together: int = 1,
    ) -> None:
        for name in expensive:
            if name not in EXPENSIVE:
                raise InvalidRequest(unknown("group of metrics", name, EXPENSIVE))
        self.method = methods.make(method, values)
        methods.check_log(method, workbench.scenario.weights)
        generators = getattr(self.method, "generators", 0)
        workbench.settle_draws()  # of a trial that failed
        self.access = workbench.grant(self.method.needs, generators, pool)
        spent = workbench.prepare_seconds(self.method.needs, generators)
        self.costs: dict[str, float] = {"prepare_seconds": spent, "saved_seconds": 0.0}
        self.points: list[dict[str, float]] = []
        self._workbench = workbench
        self._name, self._seed, self._together = method, seed, together
        self._started = time.time()
        if workbench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(workbench.device)

    def charge_draws(self) -> None:
        """Count samples from a pool as if they had been drawn anew: which trial was the first to
        ask must not show in what unlearning costs."""
        saved = self._workbench.settle_draws()
        self.costs["unlearn_seconds"] += saved
        self.costs["saved_seconds"] += saved

    def timed(self, name: str) -> AbstractContextManager[None]:
        """Counts the seconds that the body takes as `name`."""
        return stopwatch(self.costs, name, self._workbench.device)

    def outcome(
        self, state: State, measured: Measured = NOTHING_MEASURED, reason: str | None = None
    ) -> Outcome:
        workbench, method = self._workbench, self.method
        return Outcome(
            state=state,
            method=self._name,
            hyperparameters=asdict(method),  # type: ignore[call-overload]
            seed=self._seed,
            started=self._started,
            finished=time.time(),
            metrics=measured.metrics,
            reason=reason,
            device=device_name(workbench.device),
            peak_memory_mb=peak_memory_mb(workbench.device),
            device_memory_mb=device_memory_mb(workbench.device),
            host=socket.gethostname(),
            curve=list(self.points),
            zero_shot=method.needs <= ZERO_SHOT and not workbench.scenario.inversion.few_shot,
            reported=dict(self.access.reported),
            class_accuracy=measured.by_class.get("class_accuracy", []),
            test_class_accuracy=measured.by_class.get("test_class_accuracy", []),
            together=self._together,
            **self.costs,
        )

    def failed(self, error: Exception) -> Outcome:
        return self.outcome(_classify(error), reason=_describe(error))


def _measure(
    workbench: Workbench, model: nn.Module, answers: Answers, expensive: tuple[str, ...]
) -> Measured:
    """Every metric that the scenario allows: without data, the synthetic ones alone."""
    metrics: dict[str, float] = {}
    by_class: dict[str, list[float | None]] = {}
    if workbench.has_data:
        found, by_class = workbench.evaluator.measure(answers)
        metrics = {**found, **workbench.comparison(model, answers)}
        metrics |= distances(metrics, workbench.references["retrained"])
    if "anamnesis" in expensive:
        metrics |= anamnesis.figures(workbench.relearn(model), workbench.retrained_relearning)
    if "synthetic" in expensive:
        metrics |= workbench.synthetic(answers)
    return Measured(metrics, by_class)


def _on_validation(
    workbench: Workbench, answers: Answers, expensive: tuple[str, ...]
) -> dict[str, float]:
    """What can steer a search."""
    metrics: dict[str, float] = {}
    if workbench.has_data:
        metrics = workbench.evaluator.on_validation(answers)
        metrics |= distances(metrics, workbench.references["retrained"])
    if "synthetic" in expensive:
        metrics |= workbench.synthetic(answers)
    return {name: metrics[name] for name in CURVE if name in metrics}


def _classify(error: Exception) -> State:
    if isinstance(error, Diverged):
        return State.DIVERGED
    if isinstance(error, TrialTimeout):
        return State.TIMEOUT
    if isinstance(error, TooFewSamples):
        return State.STARVED
    out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
    # The CPU allocator of torch raises a plain RuntimeError.
    if out_of_memory or "allocate memory" in str(error) or "not enough memory" in str(error):
        return State.OOM
    return State.CRASHED


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}"[:500]
