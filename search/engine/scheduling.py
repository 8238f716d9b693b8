"""A study's trials through Ray Tune: searcher, scheduler, callbacks and stopper put together."""

from __future__ import annotations

import tempfile

from ray import tune

from search.engine.allotment import Allotment
from search.engine.connection import on_interrupt
from search.engine.crashes import errors_kept
from search.engine.joining import JoiningCallback
from search.engine.machines import Fleet
from search.engine.observer import Observer
from search.engine.searcher import LedgerSearcher
from search.engine.settling import SettlingCallback
from search.engine.tune import (
    TUNE_SETTINGS,
    Forgetful,
    Silence,
    environment,
    slot_resources,
    without_errors_of,
)
from search.ledger.ledger import Ledger


def run_trials(
    ledger: Ledger,
    trainable: type[tune.Trainable],
    allotment: Allotment,
    observer: Observer,
    deadline: float = float("inf"),
    fleet: Fleet | None = None,
) -> None:
    """Run trials through Ray Tune until the ledger's target has settled, or none begins any more
    since the `deadline` (of time.monotonic) is past.

    Machines that join a `fleet` meanwhile get trials too, beyond the allotment's if the study does
    not bound its concurrency. The first Ctrl-C lets running trials finish, the second stops them.
    Trials that crash before another one has ended otherwise are held back, and settle when one has
    or when none is left. Raises KeyboardInterrupt after a Ctrl-C, InvalidRequest if the results
    folder can no longer be written or as many trials as the study says crashed alike, and
    MachineRefused, once running trials have finished, for a machine that joined with other
    versions.
    """
    searcher = LedgerSearcher(ledger, allotment)
    callback = SettlingCallback(searcher, ledger, observer, deadline)
    callbacks: list[tune.Callback] = [callback, Silence()]
    if fleet is not None:
        grows = ledger.spec.concurrency is None
        joining = JoiningCallback(fleet, allotment, grows, searcher, callback, observer)
        callbacks.insert(0, joining)  # which must know a machine before its trials settle
    try:
        with (
            environment(TUNE_SETTINGS),
            without_errors_of("ray.tune.tune"),
            errors_kept(),
            tempfile.TemporaryDirectory() as scratch,
            on_interrupt(callback.interrupt),
        ):
            tune.Tuner(
                tune.with_resources(trainable, slot_resources(allotment)),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=Forgetful(),  # type: ignore[no-untyped-call]
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    storage_path=scratch,
                    verbose=0,
                    callbacks=callbacks,
                    stop=callback,
                    # Class trainables are checkpointed at their end unless told otherwise.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
    except tune.TuneError:
        if searcher.failure is None:
            raise
    callback.settle_rest()
    if searcher.failure is not None:
        raise searcher.failure
    if callback.given_up is not None:
        raise callback.given_up
    if callback.refusal is not None and not ledger.finished:
        raise callback.refusal
    if callback.interrupted:
        raise KeyboardInterrupt
