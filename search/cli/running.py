"""Commands that run trials: run, prepare, trial."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from search.cli import options
from search.cli.answers import follow_job, nothing_found, show_agreement
from search.cli.options import (
    Artifacts,
    Dashboard,
    Data,
    Dataset,
    Forget,
    Gan,
    GapTerms,
    HeldOut,
    ImageSize,
    Method,
    Metrics,
    Model,
    OptionalFloat,
    OptionalInt,
    OptionalStr,
    Precision,
    Results,
    Set,
    SpecFile,
    ValidationFraction,
    ValidationFrom,
    Weights,
    Width,
    ZeroShot,
)


def run(
    spec: SpecFile = None,
    name: Annotated[OptionalStr, typer.Option(help="name of the study")] = None,
    method: Method = None,
    dataset: Dataset = None,
    model: Model = None,
    width: Width = None,
    forget: Forget = None,
    gan: Gan = None,
    precision: Precision = None,
    weights: Weights = None,
    validation_from: ValidationFrom = None,
    validation_fraction: ValidationFraction = None,
    held_out: HeldOut = None,
    zero_shot: ZeroShot = False,
    image_size: ImageSize = None,
    trials: Annotated[OptionalInt, typer.Option(help="trials in all [default: 100]")] = None,
    sampler: Annotated[
        OptionalStr, typer.Option(help="tpe, gp, nsga2, random, sobol or grid [default: tpe]")
    ] = None,
    objective: Annotated[
        OptionalStr,
        typer.Option(
            help="pareto (forget down, retain up), gap, or synthetic (as pareto, on images of "
            "inverted generators) [default: pareto]"
        ),
    ] = None,
    gap_terms: GapTerms = None,
    pruner: Annotated[
        OptionalStr,
        typer.Option(help="stop bad trials early: asha or median; needs --objective gap"),
    ] = None,
    mia_tolerance: Annotated[
        OptionalFloat, typer.Option(help="most points of MIA from the retrained model's")
    ] = None,
    seed: Annotated[OptionalInt, typer.Option(help="seed of the study [default: 0]")] = None,
    settings: Set = None,
    metrics: Metrics = None,
    curves: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--curves", help="evaluate every trial after each phase or epoch"),
    ] = None,
    cpus_per_trial: Annotated[OptionalInt, typer.Option(help="[default: 1]")] = None,
    gpus_per_trial: Annotated[
        OptionalFloat, typer.Option(help="may be a fraction [default: 1 if there is one]")
    ] = None,
    fuse: Annotated[
        OptionalStr,
        typer.Option(
            help="trials that share a place, as one batched computation; auto: as suits the GPU "
            "[default: 1]"
        ),
    ] = None,
    concurrency: Annotated[
        OptionalInt, typer.Option(help="most trials at once [default: what fits]")
    ] = None,
    retries: Annotated[
        OptionalInt, typer.Option(help="further attempts when a worker dies [default: 3]")
    ] = None,
    retry: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="run trials again that ended so: crashed, oom, timeout, diverged, starved or "
            "pruned; repeat for several",
            metavar="STATE",
        ),
    ] = None,
    give_up_after: Annotated[
        OptionalInt,
        typer.Option(
            help="end the run when so many trials crashed alike before any ended otherwise; "
            "0: never [default: 3]"
        ),
    ] = None,
    trial_timeout: Annotated[OptionalFloat, typer.Option(help="seconds [default: none]")] = None,
    time_budget: Annotated[
        OptionalFloat, typer.Option(help="seconds after which no trial begins [default: none]")
    ] = None,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write the best trial's unlearned weights to this .safetensors file"),
    ] = None,
    address: Annotated[
        OptionalStr,
        typer.Option(help="Ray cluster to run on; auto: that of this machine [default: none]"),
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

    resources = {
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
        "fuse": int(fuse) if fuse is not None and re.fullmatch("[0-9]{1,9}", fuse) else fuse,
    }
    overrides = options.given(
        name=name,
        method=method,
        trials=trials,
        sampler=sampler,
        objective=objective,
        gap_terms=options.terms(gap_terms),
        mia_tolerance=mia_tolerance,
        seed=seed,
        metrics=metrics or None,
        pruner=pruner,
        curves=curves,
        retries=retries,
        give_up_after=give_up_after,
        trial_timeout=trial_timeout,
        time_budget=time_budget,
        concurrency=concurrency,
        scenario=options.scenario(
            *(dataset, model, width, forget, gan, weights, image_size, precision),
            *(validation_from, validation_fraction, held_out),
        ),
        space=options.settings(settings),
        resources=options.given(**resources),
    )
    if zero_shot:
        overrides = options.zero_shot(overrides)
    options.check_weights("--save", save)
    again.checked(retry or [])
    progress = Progress(Console(stderr=True))
    places = options.places(data, artifacts)
    study = Study(
        options.load(spec, overrides, places), root=results, places=places, address=address
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
            _tell_saved(progress, save, kept.of_row(chosen), about.get("references", {}))
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
    spec: SpecFile = None,
    method: Method = None,
    dataset: Dataset = None,
    model: Model = None,
    width: Width = None,
    forget: Forget = None,
    gan: Gan = None,
    weights: Weights = None,
    validation_from: ValidationFrom = None,
    validation_fraction: ValidationFraction = None,
    held_out: HeldOut = None,
    zero_shot: ZeroShot = False,
    image_size: ImageSize = None,
    settings: Set = None,
    metrics: Metrics = None,
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

    overrides = options.given(
        method=method,
        metrics=metrics or None,
        scenario=options.scenario(
            *(dataset, model, width, forget, gan, weights, image_size, None),
            *(validation_from, validation_fraction, held_out),
        ),
        space=options.settings(settings),
    )
    if zero_shot:
        overrides = options.zero_shot(overrides)
    options.check_folder("--preview", preview)
    places = options.places(data, artifacts)
    study = Study(options.load(spec, overrides, places), places=places)
    progress = Progress(Console(stderr=True))
    progress.say(f"forgetting {study.forgotten}")
    study.prepare(progress)
    if preview is not None:
        with options.writing("--preview", preview):
            for path in study.preview(preview):
                print(path)


def trial(
    spec: SpecFile = None,
    method: Method = None,
    dataset: Dataset = None,
    model: Model = None,
    width: Width = None,
    forget: Forget = None,
    gan: Gan = None,
    precision: Precision = None,
    weights: Weights = None,
    validation_from: ValidationFrom = None,
    validation_fraction: ValidationFraction = None,
    held_out: HeldOut = None,
    zero_shot: ZeroShot = False,
    image_size: ImageSize = None,
    settings: Set = None,
    seed: Annotated[int, typer.Option(help="seed of the unlearning", min=0)] = 0,
    trial_timeout: Annotated[OptionalFloat, typer.Option(help="seconds [default: none]")] = None,
    metrics: Metrics = None,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write the unlearned weights to this .safetensors file"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Run one configuration here and now, without Ray, and print what came of it.

    Hyperparameters not given keep the method's defaults.
    """
    import json
    from dataclasses import asdict

    options.check_weights("--save", save)
    from rich.console import Console

    from search.definition.resolved import forgotten as forgotten_by
    from search.definition.resolved import notes, scenario_of
    from search.definition.resolving import resolve
    from search.definition.spec import measured, pool_seed
    from search.show.progress import Progress
    from trainables import methods as known
    from trainables.errors import InvalidRequest, shortened
    from trainables.outcome import State
    from trainables.scenario import MOST_SEED
    from trainables.trial import run_trial
    from trainables.workbench import save_model, shared_workbench, use_threads

    if seed > MOST_SEED:
        raise InvalidRequest(f"--seed is {shortened(seed)}: possible: 0 to {MOST_SEED}")
    overrides = options.given(
        method=method,
        metrics=metrics or None,
        trial_timeout=trial_timeout,
        scenario=options.scenario(
            *(dataset, model, width, forget, gan, weights, image_size, precision),
            *(validation_from, validation_fraction, held_out),
        ),
        space=options.settings(settings),
    )
    if zero_shot:
        overrides = options.zero_shot(overrides)
    if spec is None:  # of no study, whose samples it could share
        overrides["pool_samples"] = False
    places = options.places(data, artifacts)
    loaded = options.load(spec, overrides, places)
    resolved = resolve(loaded, places)
    for key, value in loaded.space.items():
        if isinstance(value, list) or (isinstance(value, str) and ".." in value):
            raise InvalidRequest(f"{key} = {value!r}: a trial has one value of each hyperparameter")
    values: dict[str, Any] = dict(loaded.space)
    chosen = known.make(resolved.method, values)
    use_threads(resolved.resources.cpus_per_trial)  # as a study's workers do, for equal numbers
    bench = shared_workbench(scenario_of(resolved), places)
    forgotten = forgotten_by(resolved, places)
    with Progress(Console(stderr=True)) as progress:
        progress.say(f"forgetting {forgotten}")
        for note in notes(resolved, places):
            progress.say(note)
        expensive = measured(resolved)
        generators = getattr(chosen, "generators", 0)
        stages = bench.prerequisites(chosen.needs, expensive, generators)
        names = [name for stage in stages for name in stage]
        for done, name in enumerate(names, start=1):
            progress.doing(f"preparing {done}/{len(names)}: {bench.title(name)}")
            found = bench.prepare(name)
            if found["origin"] != "cached":
                progress.prepared(bench.title(name), found, done, len(names))
        progress.doing(f"unlearning with {resolved.method}")
        outcome, model_found = run_trial(
            bench,
            resolved.method,
            values,
            seed,
            resolved.trial_timeout,
            expensive,
            pool=pool_seed(resolved),
        )
    if save is not None and model_found is not None:
        with options.writing("--save", save):
            save_model(model_found, save, bench.image_shape[1:])
        # The original model is the base model itself.
        _tell_saved(
            progress, save, outcome.metrics, bench.references, warn=outcome.method != "original"
        )
    if as_json:
        print(json.dumps({**asdict(outcome), "references": bench.references}, indent=2))
    else:
        _print_outcome(outcome, bench.references, forgotten)
    if outcome.state is not State.COMPLETE:
        raise typer.Exit(1)


def _tell_saved(
    progress: Any,
    path: Path,
    metrics: Mapping[str, float | None],
    references: Mapping[str, Mapping[str, float | None]],
    warn: bool = True,
) -> None:
    """Where weights were written, and what they are worth."""
    from search.analysis import kept

    line, warning = kept.told(metrics, references)
    progress.say(f"the unlearned weights are in {path}: {line}")
    if warning is not None and warn:
        progress.say(warning)


def _print_outcome(outcome: Any, references: dict[str, dict[str, float]], forgotten: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from search.show.tables import number, show
    from trainables.outcome import METRICS

    values = ", ".join(f"{k}={v}" for k, v in outcome.hyperparameters.items())
    told = f"{outcome.method}({values}), seed {outcome.seed}: {outcome.state}"
    table = Table(title=escape(f"{told}, forgetting {forgotten}"), title_justify="left")
    table.add_column("metric")
    control = references.get("control")
    for heading in ("base", "retrained", "unlearned", *(["control"] if control else [])):
        table.add_column(heading, justify="right")
    table.add_column("meaning")
    for name, meaning in METRICS.items():
        compared = [number(references.get(key, {}).get(name), 2) for key in ("base", "retrained")]
        found = [*compared, number(outcome.metrics.get(name), 2)]
        found += [number(control.get(name), 2)] if control else []
        table.add_row(name, *found, meaning)
    console = Console()
    show(console, table)
    if outcome.reason:
        console.print(outcome.reason, markup=False, highlight=False, soft_wrap=True)
    seconds = (outcome.unlearn_seconds, outcome.evaluate_seconds, outcome.prepare_seconds)
    console.print(
        "unlearned in {} s, evaluated in {} s; its generators took {} s to train".format(
            *(number(value, 2) for value in seconds)
        ),
        highlight=False,
    )


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
