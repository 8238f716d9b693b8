"""One trial: scenario + method + seed -> outcome. No ray, no optuna."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from trainables import methods
from trainables.errors import Diverged, InvalidRequest, TrialTimeout, unknown
from trainables.metrics.anamnesis import anamnesis_index
from trainables.metrics.gap import gap
from trainables.outcome import EXPENSIVE, Outcome, State
from trainables.training import check_finite
from trainables.workbench import Workbench, clone


def run_trial(
    workbench: Workbench,
    method: str,
    values: dict[str, Any],
    seed: int,
    timeout: float | None = None,
    expensive: tuple[str, ...] = (),
) -> tuple[Outcome, nn.Module | None]:
    """Run one method on a clone of the base model; the outcome, and the unlearned model if any.

    `values` are hyperparameters; those not given keep their defaults. `timeout` is in seconds;
    `expensive` names the groups of `trainables.outcome.EXPENSIVE` that are to be measured too.
    Raises InvalidRequest for an unknown method or hyperparameter and whatever keeps the
    workbench from being set up; a failure of the trial itself is an outcome, never an exception.
    """
    for name in expensive:
        if name not in EXPENSIVE:
            raise InvalidRequest(unknown("group of metrics", name, EXPENSIVE))
    chosen = methods.make(method, values)
    access = workbench.grant(chosen.needs)
    references = workbench.references
    costs: dict[str, float] = {"prepare_seconds": workbench.prepare_seconds(chosen.needs)}
    metrics: dict[str, float] = {}
    unlearned: nn.Module | None = None
    if workbench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(workbench.device)

    started = time.time()
    state, reason = State.COMPLETE, None
    try:
        with _time_limit(timeout):
            model = clone(workbench.base)
            rng = torch.Generator(workbench.device).manual_seed(seed)
            with _stopwatch(costs, "unlearn_seconds", workbench.device):
                unlearned = _last(chosen.unlearn(model, access, rng))
            with _stopwatch(costs, "evaluate_seconds", workbench.device):
                metrics = {**workbench.evaluator(unlearned), **workbench.comparison(unlearned)}
                for prefix in ("", "test_"):
                    metrics[f"{prefix}gap"] = gap(metrics, references["retrained"], prefix)
                if "anamnesis" in expensive:
                    metrics |= _anamnesis(workbench, unlearned)
    except Exception as error:  # a failing trial must never take the study down
        state, reason = _classify(error), _describe(error)
        metrics, unlearned = {}, None
    outcome = Outcome(
        state=state,
        method=method,
        hyperparameters=asdict(chosen),  # type: ignore[call-overload]
        seed=seed,
        started=started,
        finished=time.time(),
        metrics=metrics,
        reason=reason,
        device=_device_name(workbench.device),
        peak_memory_mb=_peak_memory_mb(workbench.device),
        host=socket.gethostname(),
        **costs,
    )
    return outcome, unlearned


def _anamnesis(workbench: Workbench, model: nn.Module) -> dict[str, float]:
    relearned = workbench.relearn(model)
    reference = workbench.retrained_relearning
    return {
        "anamnesis_index": anamnesis_index(relearned, reference),
        "relearn_steps": float(relearned.steps),
        "relearn_seconds": relearned.seconds,
        "relearn_capped": float(relearned.capped or reference.capped),
    }


def _last(phases: Iterator[nn.Module]) -> nn.Module:
    """Run a method to its end; weights are checked whenever it yields. Raises Diverged."""
    model = None
    for model in phases:
        check_finite(model)
    if model is None:
        raise RuntimeError("the method yielded no model")
    return model


def _classify(error: Exception) -> State:
    if isinstance(error, Diverged):
        return State.DIVERGED
    if isinstance(error, TrialTimeout):
        return State.TIMEOUT
    out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
    # The CPU allocator of torch raises a plain RuntimeError.
    if out_of_memory or "allocate memory" in str(error) or "not enough memory" in str(error):
        return State.OOM
    return State.CRASHED


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}"[:500]


@contextmanager
def _stopwatch(costs: dict[str, float], name: str, device: torch.device) -> Iterator[None]:
    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    started = now()
    try:
        yield
    finally:
        costs[name] = now() - started


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TrialTimeout in the body after `seconds`.

    By an alarm, which reaches a method wherever it is in Python code, so methods need not look at
    a clock. Alarms exist in the main thread only; elsewhere a trial runs without a limit.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TrialTimeout(f"the trial ran longer than {seconds:g} s")

    started = time.monotonic()
    previous = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if left:  # an alarm of the caller's own goes on, late rather than never
            left = max(left - (time.monotonic() - started), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, left, interval)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _peak_memory_mb(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device) / 1e6
