"""Commands that run studies: run, submit, prepare."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from search.cli import completing, options
from search.cli.answers import follow_job, nothing_found, show_agreement
from search.cli.options import Artifacts, Dashboard, Data, OptionalStr, Results, SpecFile, ZeroShot
from search.cli.presenting import tell_saved


def run(
    given: dict[str, Any],
    spec: SpecFile = None,
    zero_shot: ZeroShot = False,
    retry: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="run trials again that ended so: crashed, oom, timeout, diverged, starved or "
            "pruned; repeat for several",
            metavar="STATE",
            autocompletion=completing.states,
        ),
    ] = None,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write the best trial's unlearned weights to this .safetensors file"),
    ] = None,
    address: Annotated[
        OptionalStr,
        typer.Option(
            help="Ray cluster to run on; auto: that of this machine [default: none]",
            rich_help_panel=options.PLACES,
        ),
    ] = None,
    results: Results = Path("results"),
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Run or continue a study: 100 trials of MuGAN on digits unless told otherwise.

    Interrupted, it goes on where it was when the same command is given again. Exit code 1 if no
    trial is complete in the end.
    """
    from rich.console import Console

    from search.analysis import kept
    from search.ledger import again
    from search.show.progress import Progress
    from search.store.mirror import place_of
    from search.store.results import described
    from search.study import Study

    options.check_weights("--save", save)
    again.checked(retry or [])
    progress = Progress(Console(stderr=True))
    places = options.places(data, artifacts)
    study = Study(
        options.load(spec, given, places, zero_shot), root=results, places=places, address=address
    )
    progress.say(f"study {study.name} in {place_of(study.folder)}")
    progress.say(f"forgetting {study.forgotten}")
    finished = study.run(progress, retry=retry or [])
    found = _show_findings(study, results)
    if save is not None:
        with options.writing("--save", save):
            saved = study.save_best(save)
        if saved:
            chosen, about = study.best(), described(study.folder)
            assert chosen is not None
            tell_saved(progress, save, kept.of_row(chosen), about.get("references", {}))
        else:
            progress.say("there is no model to save")
    if not finished:
        progress.say("the time budget is over; give the same command again to go on")
    if not found:
        _say_how_to_go_on(study, progress)
        raise typer.Exit(1)


def submit(
    context: typer.Context,
    dashboard: Dashboard = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="do not show what the job says")
    ] = False,
) -> None:
    """Send a command to a Ray cluster as a job: `forgetune submit run study.toml --results URI`.

    The files that it names and this code go with it; it goes on when this machine is gone.
    `forgetune status --job NAME` shows again what it says.
    """
    from search.engine.jobs import Jobs

    jobs = Jobs(dashboard)
    name = jobs.submit(context.args)
    print(name)
    again = f"forgetune status --job {name}" + (f" --dashboard {dashboard}" if dashboard else "")
    print(f"follow it with `{again}`", file=sys.stderr)
    if not no_wait:
        follow_job(jobs, name)


def prepare(
    given: dict[str, Any],
    spec: SpecFile = None,
    zero_shot: ZeroShot = False,
    preview: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write contact sheets of the generators (PNG) into this folder"),
    ] = None,
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Build ahead what the trials of a study share: models, generators, references."""
    from rich.console import Console

    from search.show.progress import Progress
    from search.study import Study

    options.check_folder("--preview", preview)
    places = options.places(data, artifacts)
    study = Study(options.load(spec, given, places, zero_shot), places=places)
    progress = Progress(Console(stderr=True))
    progress.say(f"forgetting {study.forgotten}")
    study.prepare(progress)
    if preview is not None:
        with options.writing("--preview", preview):
            for path in study.preview(preview):
                print(path)


MENDED = {
    "oom": "fewer trials at once or smaller batches",
    "timeout": "a longer --trial-timeout",
}
"""What may help trials that ended so."""


def _say_how_to_go_on(study: Any, progress: Any) -> None:
    """Of a study without a complete trial."""
    states = sorted({*study.results()["state"].to_pylist()})
    if states:
        helps = "".join(f" ({MENDED[state]} may help)" for state in states if state in MENDED)
        flags = " ".join(f"--retry {state}" for state in states)
        progress.say(f"once that is mended{helps}, the same command runs them again with {flags}")


def _show_findings(study: Any, results: Path) -> bool:
    """Print what was found; whether any trial is complete."""
    from rich.console import Console

    from search.analysis import best as select
    from search.analysis import kept
    from search.show import tables
    from search.store.mirror import place_of
    from search.store.results import described
    from search.store.scenarios import about, control_of

    table = study.results()
    console = Console()
    if select.complete(table).num_rows == 0:
        console.print(nothing_found(table, None), markup=False, highlight=False, soft_wrap=True)
        return False
    front = select.pareto(table).to_pylist()
    chosen = select.by_gap(table, 1).to_pylist()
    said = about(chosen[0])
    tables.show(console, tables.configurations(f"Pareto front on {said}", front))
    tables.show(console, tables.configurations(f"Best configuration on {said}", chosen))
    about_study = described(study.folder)
    line, _ = kept.told(kept.of_row(chosen[0]), about_study.get("references", {}))
    of_it = f"The best, trial {chosen[0]['number']}: {line}."
    for remark in (of_it, *select.remarks(table, control_of(about_study))):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    show_agreement(table)
    where = (
        "" if results == Path("results") else f" --results {shlex.quote(str(place_of(results)))}"
    )
    again = f"more: forgetune best {study.name}{where}"
    console.print(again, markup=False, highlight=False, soft_wrap=True)
    return True
