"""What can stand at a place of a command line, for completion by a shell: no torch, no ray."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import typer


def now() -> bool:
    """Whether a shell asks for completions, and nothing is run."""
    return "_FORGETUNE_COMPLETE" in os.environ


def _quiet(names: Callable[..., Iterable[str]]) -> Callable[..., list[str]]:
    """Nothing where anything fails: whoever presses a key is told nothing of it."""

    @functools.wraps(names)
    def completed(**where: object) -> list[str]:
        try:
            return list(names(**where))
        except Exception:
            return []

    return completed


@_quiet
def methods(incomplete: str) -> Iterable[str]:
    """The unlearning methods, third parties' included."""
    from trainables.methods import available

    return sorted(available())


@_quiet
def datasets(incomplete: str) -> Iterable[str]:
    """The datasets known by name; of files the shell knows itself."""
    from trainables.data.sources import SOURCES

    return SOURCES


@_quiet
def models(incomplete: str) -> Iterable[str]:
    """The classifiers."""
    from trainables.models.names import MODELS

    return MODELS


@_quiet
def samplers(incomplete: str) -> Iterable[str]:
    """The samplers."""
    from search.definition.samplers import SAMPLERS

    return SAMPLERS


@_quiet
def pruners(incomplete: str) -> Iterable[str]:
    """The pruners."""
    from search.definition.pruners import PRUNERS

    return PRUNERS


@_quiet
def states(incomplete: str) -> Iterable[str]:
    """How trials end that can be run again."""
    from search.ledger.again import STATES

    return STATES


@_quiet
def studies(context: typer.Context, incomplete: str) -> Iterable[str]:
    """The studies of the folder that --results names."""
    from search.store.results import study_names

    return study_names(context.params.get("results") or Path("results"))


def one_of(*words: str) -> Callable[..., list[str]]:
    """These words."""

    def words_(incomplete: str) -> list[str]:
        return list(words)

    return words_
