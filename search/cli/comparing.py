"""The command that searches several methods and compares their best: compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from search.cli import completing, options
from search.cli.options import MOST, Artifacts, Data, Output, Results, Style
from search.cli.presenting import check_any_complete, check_form, present


def compare(
    given: dict[str, Any],
    methods: Annotated[
        list[str],
        typer.Argument(help="see `forgetune methods`", autocompletion=completing.methods),
    ],
    spec: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="TOML file with what the studies have in common"),
    ] = None,
    top: Annotated[
        int, typer.Option(help="configurations to repeat of each method", min=1, max=MOST)
    ] = 3,
    seeds: Annotated[
        int, typer.Option(help="repeats of each, with other seeds", min=1, max=MOST)
    ] = 5,
    base_seeds: Annotated[
        int,
        typer.Option(
            help="base models, with other seeds, that each is repeated on", min=1, max=MOST
        ),
    ] = 1,
    style: Style = "text",
    output: Output = None,
    results: Results = Path("results"),
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Tables 3-6: search each method, repeat its best configurations, compare the means.

    What is there already is used; interrupted, it goes on where it was.
    """
    from rich.console import Console

    from search.analysis.compare import sheet
    from search.designs import comparison
    from search.show import tables
    from search.study import Study
    from trainables import methods as known

    check_form(style, output)
    for name in methods:
        known.check_known(name)
    places = options.places(data, artifacts)
    wanted = [options.load(spec, {**given, "method": name}, places) for name in methods]
    console = Console(stderr=True)
    entries = comparison.compare(
        wanted,
        results,
        places,
        console,
        top=top,
        seeds=seeds,
        base_seeds=base_seeds,
    )
    repeated = f"{seeds} unlearning seeds" + (
        f" on each of {base_seeds} base models" if base_seeds > 1 else ""
    )
    compared = Study(wanted[0], root=results, places=places)
    remark = comparison.made_with(compared, top, seeds, base_seeds)
    shown = sheet(entries, remark)
    present(shown, style, output, tables.comparison(entries, repeated, remark))
    check_any_complete(row for entry in entries if not entry.reference for row in entry.repeats)
