"""The `forgetune` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any, NoReturn

import typer

from search.cli import answers, clusters, comparing, listing, running, single, studying
from search.cli.commands import on_demand
from search.cli.flags import COMMANDS as TAKE_A_STUDY
from search.cli.flags import why_not
from search.cli.options import MARKUP
from search.cli.streams import guarded
from search.shadows import foreign

app = typer.Typer(
    help="Hyperparameter search for machine unlearning.",
    rich_markup_mode=MARKUP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    *(running.run, running.prepare, single.trial),
    *(answers.status, answers.best, answers.importance, answers.report, answers.query),
    *(comparing.compare, studying.sensitivity, studying.classes),
    *(listing.methods, listing.spaces, listing.datasets),
)
for _command in _COMMANDS:
    if _command.__name__ in TAKE_A_STUDY:
        app.command(_command.__name__, help=_command.__doc__, cls=on_demand(_command))(lambda: None)
    else:
        app.command()(_command)
app.add_typer(clusters.app, name="cluster")
# What it is sent has options of its own.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    running.submit
)


INTERRUPTED = 130
"""Exit code of a command that was interrupted by Ctrl-C, as Typer and shells have it."""


@guarded()
def main() -> None:
    """Entry point. Errors end in one line and exit code 2."""
    if (wrong := foreign()) is not None:
        _refuse(wrong)
    from search.engine.connection import kept
    from trainables.errors import ForgetuneError

    arguments = sys.argv[1:] or ["--help"]
    try:
        with kept():  # one Ray for all studies of a command
            code = app(arguments, prog_name="forgetune", standalone_mode=False)
    except KeyboardInterrupt:  # again, while the command was ending for the first
        code = INTERRUPTED
    except ForgetuneError as error:
        _refuse(str(error))
    except Exception as error:
        # Typer brings a click of its own, whose errors of usage can be told by this alone.
        if not hasattr(error, "format_message"):
            raise
        message = _usage(error, arguments)
        if not message:  # a group without a command has shown its help
            sys.exit(2)
        _refuse(message)
    if code == INTERRUPTED:
        print("forgetune: interrupted; give the same command again to go on", file=sys.stderr)
    sys.exit(code or 0)


def _usage(error: Any, arguments: list[str]) -> str:
    """What is wrong with the words of a command line, in one line."""
    command = getattr(getattr(error, "ctx", None), "command_path", None)
    if command is None:  # as of an option without its value
        command = " ".join(("forgetune", *arguments[:1]))
    if hasattr(error, "possibilities"):  # there is no such option
        name = command.rpartition(" ")[2]
        if why := why_not(name, error.option_name):
            return f"{name} takes no {error.option_name}: {why}"
        error.possibilities = _alike(error.option_name, error.possibilities or ())
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{message}; see `{command} --help`" if message else ""


def _alike(option: str, options: Iterable[str]) -> list[str]:
    """Those that may have been meant: of sixty flags, some are like anything by half."""
    return [
        other
        for other in options
        if other.startswith(option) or SequenceMatcher(None, option, other).ratio() >= 0.7
    ]


def _refuse(message: str) -> NoReturn:
    # Names of files and keys may hold anything.
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    print(f"forgetune: {line}", file=sys.stderr)
    sys.exit(2)
