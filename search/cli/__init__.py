"""The `forgetune` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from search.cli import answers, clusters, listing, running, studying
from search.cli.streams import guarded
from search.shadows import foreign

app = typer.Typer(
    help="Hyperparameter search for machine unlearning.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    *(running.run, running.prepare, running.trial),
    *(answers.status, answers.best, answers.importance, answers.report, answers.query),
    *(studying.compare, studying.sensitivity, studying.classes),
    *(listing.methods, listing.spaces, listing.datasets),
):
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
    except ForgetuneError as error:
        _refuse(str(error))
    except Exception as error:
        # Typer brings a click of its own, whose errors of usage can be told by this alone.
        if not hasattr(error, "format_message"):
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "forgetune")
        message = " ".join(error.format_message().split()).rstrip(".")
        if not message:  # a group without a command has shown its help
            sys.exit(2)
        _refuse(f"{message}; see `{command} --help`")
    if code == INTERRUPTED:
        print("forgetune: interrupted; give the same command again to go on", file=sys.stderr)
    sys.exit(code or 0)


def _refuse(message: str) -> NoReturn:
    # Names of files and keys may hold anything.
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    print(f"forgetune: {line}", file=sys.stderr)
    sys.exit(2)
