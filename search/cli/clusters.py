"""Commands about clusters: cluster check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import OptionalStr

app = typer.Typer(help="Ray clusters.", no_args_is_help=True)


@app.callback()
def cluster() -> None:
    """Ray clusters."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="a file for `ray up`")] = Path("cluster.yaml"),
    results: Annotated[
        OptionalStr, typer.Option(help="where results are to go", metavar="PLACE")
    ] = None,
    artifacts: Annotated[
        OptionalStr, typer.Option(help="where artifacts are to go", metavar="PLACE")
    ] = None,
) -> None:
    """What would fail, cost money or stand open: checked offline, before it does."""
    # The places are only looked at: nothing is asked of a cloud.
    from search.cluster import check as findings_of
    from search.cluster import render

    findings = findings_of(file, results, artifacts)
    for line in render(findings):
        print(line)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)
