"""Commands that list what there is: methods, spaces, datasets."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from search.cli import completing, options
from search.cli.options import OptionalStr, Set


def methods() -> None:
    """The unlearning methods: what each needs, its hyperparameters and their defaults."""
    from rich.console import Console
    from rich.table import Table

    from search.show.tables import show
    from trainables import methods as known

    table = Table()
    for heading in ("method", "needs", "hyperparameters", "about"):
        table.add_column(heading, overflow="fold")
    for name in sorted(known.available()):
        kind = known.load(name)
        about = (sys.modules[kind.__module__].__doc__ or "").strip().splitlines()
        values = ", ".join(f"{k}={v}" for k, v in known.hyperparameters(name).items())
        needs = ", ".join(sorted(known.make(name, {}).needs)) or "nothing"
        if known.is_control(name):
            needs += " (a control)"
        table.add_row(name, needs, values or "none", about[0] if about else "")
    show(Console(), table)


def spaces(
    method: Annotated[
        OptionalStr,
        typer.Argument(help="a method [default: all]", autocompletion=completing.methods),
    ] = None,
    settings: Set = None,
) -> None:
    """What may vary in a study of a method, and within what bounds."""
    from rich.console import Console
    from rich.table import Table

    from search.definition.space import SearchSpace
    from search.show.tables import show
    from trainables import methods as known

    table = Table()
    for heading in ("method", "hyperparameter", "varies over"):
        table.add_column(heading)
    for name in [method] if method else sorted(known.available()):
        described = SearchSpace(name, options.settings(settings) if method else None).describe()
        for parameter, possible in described.items():
            table.add_row(name, parameter, possible)
        if not described:
            table.add_row(name, "-", "nothing: it has no hyperparameters to search")
    show(Console(), table)


def datasets() -> None:
    """The datasets known by name, and the defaults that suit them."""
    from rich.console import Console
    from rich.table import Table

    from search.show.tables import show
    from trainables.data.sources import SOURCES

    table = Table()
    for heading in ("dataset", "about", "validation", "AllCNN width", "samples per class up to"):
        table.add_column(heading)
    for name, source in SOURCES.items():
        table.add_row(
            name,
            source.about,
            f"{source.validation_fraction:.0%} of training",
            f"{source.width:g}",
            f"{source.samples_per_class:,}",
        )
    table.add_row("FILE.npz", "x_train, y_train, x_test, y_test, and classes if you like")
    table.add_row("FOLDER", "train/CLASS/*.png and test/CLASS/*.png")
    show(Console(), table)
