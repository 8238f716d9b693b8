"""Commands that take a study: a function, with the flags that follow from the specification.

The function's first parameter, `given`, is what these flags say, in the shape of a TOML file; its
other parameters are the command's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from search.cli import options
from search.cli.flags import flags, overrides


def with_flags(function: Callable[..., None]) -> Callable[..., None]:
    """The function as typer takes it: with a parameter for each flag in place of `given`."""
    declared = flags(function.__name__)

    def command(**values: Any) -> None:
        given = overrides(declared, values)
        function(given, **{name: value for name, value in values.items() if name in own})

    own = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
        if name != "given"
    }
    # Help shows headings in the order in which they first come.
    first, last = ([p for p in own.values() if _is_place(p) is where] for where in (False, True))
    parameters = [*first, *(flag.declared() for flag in declared), *last]
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _is_place(parameter: inspect.Parameter) -> bool:
    """Whether an option says where things lie."""
    notes = getattr(parameter.annotation, "__metadata__", ())
    return any(getattr(note, "rich_help_panel", None) == options.PLACES for note in notes)


def on_demand(function: Callable[..., None]) -> type[TyperCommand]:
    """A command whose flags are made when it is called by its name: `forgetune --help`, which shows
    what each is for, needs none."""

    class OnDemand(TyperCommand):
        def make_context(
            self, info_name: str | None, args: list[str], *more: Any, **how: Any
        ) -> Any:
            alone = typer.Typer(add_completion=False, rich_markup_mode=options.MARKUP)
            alone.command()(with_flags(function))
            return typer.main.get_command(alone).make_context(info_name, args, *more, **how)

    return OnDemand
