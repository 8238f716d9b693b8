"""The `forgetune` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import typer

from search.cli import answers, listing, running, studying

app = typer.Typer(
    help="Hyperparameter search for machine unlearning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    *(running.run, running.prepare, running.trial),
    *(answers.status, answers.best, answers.query),
    *(studying.compare, studying.sensitivity, studying.classes),
    *(listing.methods, listing.spaces, listing.datasets),
):
    app.command()(_command)


def _check_packages() -> None:
    """Our import names are generic; say so if others' packages took their place."""
    import importlib.util

    for package, file in (("trainables", "errors.py"), ("spaces", "mugan.py")):
        found = importlib.util.find_spec(package)
        where = found.origin if found and found.origin else "nowhere"
        if not Path(where).with_name(file).exists():
            print(
                f"forgetune: the package {package!r} found at {where} is not forgetune's; "
                "uninstall the other one or use a virtual environment of its own",
                file=sys.stderr,
            )
            sys.exit(2)


def main() -> None:
    """Entry point. Errors of ours end in one line and exit code 2."""
    _check_packages()
    from trainables.errors import ForgetuneError

    command: Callable[[], None] = app
    try:
        command()
    except ForgetuneError as error:
        print(f"forgetune: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("forgetune: interrupted; give the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
