"""Commands that only read results: best, query, status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from search.cli import completing, options
from search.cli.options import Dashboard, OneStudy, OptionalFloat, OptionalStr, Results


def best(
    study: OneStudy = None,
    forget_at_most: Annotated[
        OptionalFloat,
        typer.Option(help="best retain accuracy among those that forget to this (percent)"),
    ] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="the Pareto front")] = False,
    top: Annotated[int, typer.Option(help="how many", min=1, max=10**9)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="the first as a file for `forgetune run` and `trial`")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Best configurations of each scenario: by gap to the retrained model unless told otherwise.

    Trials of different datasets, models or forget classes are never ranked against each other.
    """
    from search.analysis import best as select
    from search.show import tables
    from search.store import results as store
    from search.store.scenarios import comparable
    from trainables.errors import InvalidRequest

    if pareto and forget_at_most is not None:
        raise InvalidRequest("give --pareto or --forget-at-most, not both")
    if as_json and as_toml:
        raise InvalidRequest("give --json or --toml, not both")
    if pareto:
        title = "Pareto front"
    elif forget_at_most is not None:
        title = f"Best retain accuracy with forget accuracy of at most {forget_at_most:g} %"
    else:
        title = "Smallest gap"
    groups, damaged = comparable(results, study)
    tell(damaged)
    found, without = [], []
    for group in groups:
        if pareto:
            chosen = select.pareto(group.table)
        elif forget_at_most is not None:
            chosen = select.by_retain(group.table, forget_at_most, top)
        else:
            chosen = select.by_gap(group.table, top)
        if chosen.num_rows:
            remarks = select.remarks(group.table, group.control)
            found.append((group.title, chosen.to_pylist(), remarks))
        else:
            without.append((group.title, nothing_found(group.table, forget_at_most)))
    reasons = [f"{about}: {reason}" for about, reason in without]
    if not found and len(without) == 1:
        raise InvalidRequest(without[0][1])
    if not found:
        raise InvalidRequest("; ".join(reasons) or nothing_settled(results, study))
    for reason in reasons:
        print(f"forgetune: {reason}", file=sys.stderr)
    if as_json:
        print(tables.as_json([row for _, rows, _ in found for row in rows]))
    elif as_toml:
        if len(found) > 1:
            known = ", ".join(f"{rows[0]['study']} ({about})" for about, rows, _ in found)
            raise InvalidRequest(
                f"there are {len(found)} scenarios; name a study, the best of each: {known}"
            )
        first = found[0][1][0]
        described = store.described(store.study_folder(results, first["study"]))
        if "spec" not in described:
            raise InvalidRequest(f"study.json of {first['study']} is missing or not readable")
        print(tables.as_toml(first, described["spec"]), end="")
    else:
        from rich.console import Console

        console = Console()
        for about, rows, remarks in found:
            tables.show(console, tables.configurations(f"{title} on {about}", rows))
            for remark in remarks:
                console.print(remark, markup=False, highlight=False, soft_wrap=True)
        if study:
            show_agreement(groups[0].table)


def importance(
    study: Annotated[str, typer.Argument(help="a study", autocompletion=completing.studies)],
    target: Annotated[
        str, typer.Option(help="gap, forget or retain: what the hyperparameters matter for")
    ] = "gap",
    evaluator: Annotated[str, typer.Option(help="fanova, mdi or ped-anova")] = "fanova",
    style: Annotated[
        str, typer.Option("--format", help="text, markdown, latex or csv", metavar="FORMAT")
    ] = "text",
    results: Results = Path("results"),
) -> None:
    """How much each hyperparameter matters, by Optuna's evaluators, with bootstrap intervals."""
    from rich.console import Console

    from search.analysis import importance as shares
    from search.analysis.sheets import FORMS
    from search.definition.space import SearchSpace
    from search.designs.repeats import stored
    from search.show import tables
    from trainables.errors import InvalidRequest, unknown

    if style not in ("text", *FORMS):
        raise InvalidRequest(unknown("format", style, ("text", *FORMS)))
    table, spec = scan(results, study), stored(results, study)
    distributions = SearchSpace(spec.method, spec.space).distributions
    found = shares.importance(table, distributions, target, evaluator)
    sheet = shares.sheet(found)
    if style != "text":
        print(FORMS[style](sheet), end="")
        return
    title = f"Importance for {target} in {study} ({evaluator})"
    tables.show(Console(), tables.sheet_table(sheet, title, shares.caption(found, spec.sampler)))


def report(
    studies: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="one study, or several to compare [default: all]",
            autocompletion=completing.studies,
        ),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="the page [default: STUDY.html, or report.html of several]"),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """One HTML page, with all it needs inside: a study from every side, or several compared."""
    from search.report.page import comparison_page, study_page
    from search.store import results as store
    from trainables.artifacts.files import write_whole

    names = list(dict.fromkeys(studies or store.study_names(results)))
    if not names:
        store.existing(results, "")
    path = output or Path(f"{names[0]}.html" if len(names) == 1 else "report.html")
    options.check_file("--output", path)
    page = study_page(results, names[0]) if len(names) == 1 else comparison_page(results, names)
    with options.writing("--output", path):
        write_whole(path, page.encode())
    print(path)


def query(
    sql: Annotated[OptionalStr, typer.Argument(help="one SELECT, in quotes", metavar="SQL")] = None,
    style: Annotated[
        str, typer.Option("--format", help="table, csv, json or parquet", metavar="FORMAT")
    ] = "table",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write to this file"),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="what columns there are")] = False,
    results: Results = Path("results"),
) -> None:
    """SQL over all results (DuckDB): the views trials, studies and curves. Read-only."""
    from search.store.query import Query, cells, write
    from trainables.errors import InvalidRequest, unknown

    styles = ("table", "csv", "json", "parquet")
    if style not in styles:
        raise InvalidRequest(unknown("format", style, styles))
    if bool(sql) == schema:
        raise InvalidRequest("give one SELECT in quotes, or --schema")
    if style == "parquet" and output is None:
        raise InvalidRequest("Parquet is no text: give a file (--output)")
    options.check_file("--output", output)
    database = Query(results)
    for damage in database.damaged:
        print(f"forgetune: left out {damage}", file=sys.stderr)
    found = database.run(sql, as_text=style != "parquet") if sql else database.schema()
    if style != "table" or output is not None:
        write(found, "csv" if style == "table" else style, output)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from search.show.tables import show

    table = Table(*map(escape, found.column_names))
    for row in cells(found):
        table.add_row(*map(Text, row))
    show(Console(), table)


def status(
    study: OneStudy = None,
    job: Annotated[
        OptionalStr, typer.Option(help="show what a job of `forgetune submit` says, to its end")
    ] = None,
    dashboard: Dashboard = None,
    results: Results = Path("results"),
) -> None:
    """What is done, running and failed, the best so far, the time left."""
    if job is not None:
        from search.engine.jobs import Jobs

        follow_job(Jobs(dashboard), job)
        return
    from rich.console import Console

    from search.show import tables
    from search.store import results as store
    from search.store import status as statuses

    names = [study] if study else store.study_names(results)
    if not names:
        store.existing(results, "")
    found = [statuses.status(results, name) for name in names]
    console = Console()
    tables.show(console, tables.status_table(found))
    for item in found:
        for state, count in sorted(item.states.items()):
            if state != "complete":
                console.print(f"{item.name}: {count} {state}", markup=False, highlight=False)
        if item.advice:
            advice = f"{item.name}: {item.advice}"
            console.print(advice, markup=False, highlight=False, soft_wrap=True)
        for damage in item.damaged:
            told = f"damaged: {damage}"
            console.print(told, markup=False, highlight=False, soft_wrap=True)


def follow_job(jobs: Any, name: str) -> None:
    """Show what a job says; exit code 1 unless it ended well."""
    try:
        state = jobs.follow(name, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"the job goes on; `forgetune status --job {name}` follows it", file=sys.stderr)
        raise typer.Exit(0) from None
    print(f"job {name}: {state.lower()}", file=sys.stderr)
    if state != "SUCCEEDED":
        raise typer.Exit(1)


def show_agreement(table: Any) -> None:
    """How well the synthetic images of a study stand for the real ones, if it looked at both."""
    from rich.console import Console

    from search.analysis.agreement import agreement

    if table["m_synthetic_gap"].null_count == table.num_rows:
        return
    found = agreement(table)
    if found is not None:
        console = Console(soft_wrap=True)
        console.print(f"synthetic and real validation rank the trials alike to {found}")


def scan(results: Path, study: str) -> Any:
    """All trials of a study; damaged files are told, and a study without trials is refused."""
    from search.store import results as store
    from trainables.errors import InvalidRequest

    table, damaged = store.examine(results, study)
    tell(damaged)
    if table.num_rows == 0:
        raise InvalidRequest(nothing_settled(results, study))
    return table


def tell(damaged: Sequence[Any]) -> None:
    for item in damaged:
        print(f"forgetune: left out {item}", file=sys.stderr)


def nothing_settled(results: Path, study: str | None) -> str:
    from search.store import results as store

    if not store.study_names(results):
        store.existing(results, study or "")
    return f"no trial of {study or 'any study'} in {results} has settled yet"


def nothing_found(table: Any, forget_at_most: float | None) -> str:
    from search.analysis.best import complete, lowest_forget, why_none

    done = complete(table).num_rows
    if forget_at_most is not None and done:
        lowest = lowest_forget(table)
        return (
            f"none of {done} trials forgets to {forget_at_most:g} %; the lowest forget accuracy "
            f"is {lowest:.1f} %"
        )
    return why_none(table)
