"""The `forgetune` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

app = typer.Typer(
    help="Hyperparameter search for machine unlearning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecFile = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads this form)
    typer.Argument(help="TOML file that describes the study", metavar="[SPEC.toml]"),
]
Results = Annotated[Path, typer.Option(help="folder of results", show_default=True)]
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="folder of datasets (downloads go there) [default: user's cache]"),
]
Artifacts = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="folder of models and generators [default: user's cache]"),
]
Method = Annotated[Optional[str], typer.Option(help="see `forgetune methods`")]  # noqa: UP045
Dataset = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="see `forgetune datasets`; or a .npz file, or a folder of images"),
]
Model = Annotated[Optional[str], typer.Option(help="allcnn, vgg16 or resnet9")]  # noqa: UP045
Width = Annotated[Optional[float], typer.Option(help="factor on AllCNN's channels")]  # noqa: UP045
Forget = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="class to forget, by number or name; repeat for several"),
]
Gan = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="what MuGAN draws from: dcgan, cgan or wgan-gp [default: dcgan]"),
]
Weights = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help=".safetensors file of the base model, which is then not trained"),
]
ImageSize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="pixels of the model's images where there is no dataset: 32 or 28x32"),
]
ZeroShot = Annotated[
    bool,
    typer.Option(
        "--zero-shot",
        help="no dataset at all: zMuGAN (or --method) on --weights, steered by synthetic images",
    ),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set",
        help="hyperparameter: NAME=VALUE fixes it, NAME=LOW..HIGH bounds it, NAME=A,B lists it",
        metavar="NAME=...",
    ),
]
Metrics = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="expensive metrics to measure too: anamnesis, synthetic", metavar="NAME"),
]
OptionalInt = Optional[int]  # noqa: UP045
OptionalFloat = Optional[float]  # noqa: UP045
OptionalStr = Optional[str]  # noqa: UP045


@app.command()
def run(
    spec: SpecFile = None,
    name: Annotated[OptionalStr, typer.Option(help="name of the study")] = None,
    method: Method = None,
    dataset: Dataset = None,
    model: Model = None,
    width: Width = None,
    forget: Forget = None,
    gan: Gan = None,
    weights: Weights = None,
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
    concurrency: Annotated[
        OptionalInt, typer.Option(help="most trials at once [default: what fits]")
    ] = None,
    retries: Annotated[
        OptionalInt, typer.Option(help="further attempts when a worker dies [default: 3]")
    ] = None,
    trial_timeout: Annotated[OptionalFloat, typer.Option(help="seconds [default: none]")] = None,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write the best trial's unlearned weights to this .safetensors file"),
    ] = None,
    results: Results = Path("results"),
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Run or continue a study: 100 trials of MuGAN on digits unless told otherwise.

    Interrupted, it goes on where it was when the same command is given again.
    """
    from rich.console import Console

    from search import spec as specs
    from search.progress import Progress
    from search.study import Study

    resources = {"cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    overrides = _given(
        name=name,
        method=method,
        trials=trials,
        sampler=sampler,
        objective=objective,
        mia_tolerance=mia_tolerance,
        seed=seed,
        metrics=metrics or None,
        pruner=pruner,
        curves=curves,
        retries=retries,
        trial_timeout=trial_timeout,
        concurrency=concurrency,
        scenario=_scenario(dataset, model, width, forget, gan, weights, image_size),
        space=_settings(settings),
        resources=_given(**resources),
    )
    if zero_shot:
        overrides = _zero_shot(overrides)
    if save is not None:
        _check_file("--save", save)
    progress = Progress(Console(stderr=True))
    study = Study(specs.load_spec(spec, overrides), root=results, places=_places(data, artifacts))
    progress.say(f"study {study.name} in {study.folder}")
    finished = study.run(progress)
    _show_findings(study, results)
    if save is not None:
        with _writing("--save", save):
            saved = study.save_best(save)
        told = f"the best trial's weights are in {save}" if saved else "there is no model to save"
        progress.say(told)
    if not finished:
        progress.say("interrupted; give the same command again to go on")
        raise typer.Exit(130)


@app.command()
def prepare(
    spec: SpecFile = None,
    method: Method = None,
    dataset: Dataset = None,
    model: Model = None,
    width: Width = None,
    forget: Forget = None,
    gan: Gan = None,
    weights: Weights = None,
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

    from search import spec as specs
    from search.progress import Progress
    from search.study import Study

    overrides = _given(
        method=method,
        metrics=metrics or None,
        scenario=_scenario(dataset, model, width, forget, gan, weights, image_size),
        space=_settings(settings),
    )
    if zero_shot:
        overrides = _zero_shot(overrides)
    study = Study(specs.load_spec(spec, overrides), places=_places(data, artifacts))
    study.prepare(Progress(Console(stderr=True)))
    if preview is not None:
        with _writing("--preview", preview):
            for path in study.preview(preview):
                print(path)


@app.command()
def best(
    study: Annotated[OptionalStr, typer.Argument(help="a study [default: all]")] = None,
    forget_at_most: Annotated[
        OptionalFloat,
        typer.Option(help="best retain accuracy among those that forget to this (percent)"),
    ] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="the Pareto front")] = False,
    top: Annotated[int, typer.Option(help="how many", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="the first as a file for `forgetune run` and `trial`")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Best configurations: by gap to the retrained model unless told otherwise."""
    from search import results as store
    from search import tables
    from search.analysis import best as select
    from trainables.errors import InvalidRequest

    if pareto and forget_at_most is not None:
        raise InvalidRequest("give --pareto or --forget-at-most, not both")
    if as_json and as_toml:
        raise InvalidRequest("give --json or --toml, not both")
    table = _scan(results, study)
    if pareto:
        chosen, title = select.pareto(table), "Pareto front"
    elif forget_at_most is not None:
        chosen = select.by_retain(table, forget_at_most).slice(0, top)
        title = f"Best retain accuracy with forget accuracy of at most {forget_at_most:g} %"
    else:
        chosen, title = select.by_gap(table).slice(0, top), "Smallest gap"
    if chosen.num_rows == 0:
        raise InvalidRequest(_nothing_found(table, forget_at_most))
    rows = chosen.to_pylist()
    if as_json:
        print(tables.as_json(rows))
    elif as_toml:
        described = store.load_json(store.study_folder(results, rows[0]["study"]) / "study.json")
        if not described or "spec" not in described:
            raise InvalidRequest(f"study.json of {rows[0]['study']} is missing or not readable")
        print(tables.as_toml(rows[0], described["spec"]), end="")
    else:
        from rich.console import Console

        several = len({row["study"] for row in rows}) > 1
        tables.show(Console(), tables.configurations(title, rows, several))
        if study:
            _show_agreement(table)


@app.command()
def compare(
    methods: Annotated[list[str], typer.Argument(help="see `forgetune methods`")],
    spec: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="TOML file with what the studies have in common"),
    ] = None,
    dataset: Dataset = None,
    model: Model = None,
    width: Width = None,
    forget: Forget = None,
    gan: Gan = None,
    trials: Annotated[
        OptionalInt, typer.Option(help="trials of each method's search [default: 100]")
    ] = None,
    top: Annotated[int, typer.Option(help="configurations to repeat of each method", min=1)] = 3,
    seeds: Annotated[int, typer.Option(help="repeats of each, with other seeds", min=1)] = 5,
    base_seeds: Annotated[
        int, typer.Option(help="base models, with other seeds, that each is repeated on", min=1)
    ] = 1,
    metrics: Metrics = None,
    style: Annotated[
        str, typer.Option("--format", help="text, markdown, latex or csv", metavar="FORMAT")
    ] = "text",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write the table to this file"),
    ] = None,
    results: Results = Path("results"),
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Tables 3-6: search each method, repeat its best configurations, compare the means.

    What is there already is used; interrupted, it goes on where it was.
    """
    from rich.console import Console

    from search import comparison, tables
    from search import spec as specs
    from search.analysis import compare as forms
    from trainables import methods as known
    from trainables.errors import InvalidRequest, unknown

    renderers = {
        "markdown": forms.as_markdown,
        "latex": forms.as_latex,
        "csv": forms.as_csv,
        "text": None,
    }
    if style not in renderers:
        raise InvalidRequest(unknown("format", style, renderers))
    if output is not None:
        _check_file("--output", output)
    overrides = _given(
        trials=trials,
        metrics=metrics or None,
        scenario=_scenario(dataset, model, width, forget, gan, None, None),
    )
    for name in methods:
        known.check_known(name)
    wanted = [specs.load_spec(spec, {**overrides, "method": name}) for name in methods]
    console = Console(stderr=True)
    entries = comparison.compare(
        wanted,
        results,
        _places(data, artifacts),
        console,
        top=top,
        seeds=seeds,
        base_seeds=base_seeds,
    )
    repeated = f"{seeds} unlearning seeds" + (
        f" on each of {base_seeds} base models" if base_seeds > 1 else ""
    )
    render = renderers[style]
    if render is None:
        shown = Console(record=output is not None)
        tables.show(shown, tables.comparison(entries, repeated))
        text = shown.export_text() if output is not None else ""
    else:
        text = render(entries)
    if output is not None:
        with _writing("--output", output):
            output.write_text(text, encoding="utf-8")
    elif render is not None:
        print(text, end="")


@app.command()
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
    from search.query import Query, write
    from trainables.errors import InvalidRequest, unknown

    styles = ("table", "csv", "json", "parquet")
    if style not in styles:
        raise InvalidRequest(unknown("format", style, styles))
    if bool(sql) == schema:
        raise InvalidRequest("give one SELECT in quotes, or --schema")
    database = Query(results)
    for damage in database.damaged:
        print(f"forgetune: left out {damage}", file=sys.stderr)
    found = database.run(sql) if sql else database.schema()
    if style != "table" or output is not None:
        write(found, "csv" if style == "table" else style, output)
        return
    from rich.console import Console
    from rich.table import Table

    from search.tables import show

    table = Table(*found.column_names)
    for row in found.to_pylist():
        table.add_row(*("-" if value is None else _plain(value) for value in row.values()))
    show(Console(), table)


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@app.command()
def status(
    study: Annotated[OptionalStr, typer.Argument(help="a study [default: all]")] = None,
    results: Results = Path("results"),
) -> None:
    """What is done, running and failed, the best so far, the time left."""
    from rich.console import Console

    from search import results as store
    from search import status as statuses
    from search import tables

    names = [study] if study else store.study_names(results)
    if not names:
        store.existing(results, "")
    found = [statuses.status(results, name) for name in names]
    console = Console()
    tables.show(console, tables.status_table(found))
    for item in found:
        for state, count in sorted(item.states.items()):
            if state != "complete":
                console.print(f"{item.name}: {count} {state}", highlight=False)
        for damage in item.damaged:
            console.print(f"damaged: {damage}", highlight=False, soft_wrap=True)


@app.command()
def methods() -> None:
    """The unlearning methods: what each needs, its hyperparameters and their defaults."""
    from rich.console import Console
    from rich.table import Table

    from search.tables import show
    from trainables import methods as known

    table = Table()
    for heading in ("method", "needs", "hyperparameters", "about"):
        table.add_column(heading, overflow="fold")
    for name in sorted(known.available()):
        kind = known.load(name)
        about = (sys.modules[kind.__module__].__doc__ or "").strip().splitlines()
        values = ", ".join(f"{k}={v}" for k, v in known.hyperparameters(name).items())
        needs = ", ".join(sorted(known.make(name, {}).needs)) or "nothing"
        table.add_row(name, needs, values or "none", about[0] if about else "")
    show(Console(), table)


@app.command()
def spaces(
    method: Annotated[OptionalStr, typer.Argument(help="a method [default: all]")] = None,
    settings: Set = None,
) -> None:
    """What may vary in a study of a method, and within what bounds."""
    from rich.console import Console
    from rich.table import Table

    from search.space import SearchSpace
    from search.tables import show
    from trainables import methods as known

    table = Table()
    for heading in ("method", "hyperparameter", "varies over"):
        table.add_column(heading)
    for name in [method] if method else sorted(known.available()):
        described = SearchSpace(name, _settings(settings) if method else None).describe()
        for parameter, possible in described.items():
            table.add_row(name, parameter, possible)
        if not described:
            table.add_row(name, "-", "nothing: it has no hyperparameters to search")
    show(Console(), table)


@app.command()
def datasets() -> None:
    """The datasets known by name, and the defaults that suit them."""
    from rich.console import Console
    from rich.table import Table

    from search.tables import show
    from trainables.sources import SOURCES

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


@app.command()
def trial(
    spec: SpecFile = None,
    method: Method = None,
    dataset: Dataset = None,
    model: Model = None,
    width: Width = None,
    forget: Forget = None,
    gan: Gan = None,
    weights: Weights = None,
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

    from rich.console import Console

    from search import spec as specs
    from search.progress import Progress
    from trainables import methods as known
    from trainables.errors import InvalidRequest
    from trainables.outcome import State
    from trainables.trial import run_trial
    from trainables.workbench import save_model, shared_workbench, use_threads

    overrides = _given(
        method=method,
        metrics=metrics or None,
        trial_timeout=trial_timeout,
        scenario=_scenario(dataset, model, width, forget, gan, weights, image_size),
        space=_settings(settings),
    )
    if zero_shot:
        overrides = _zero_shot(overrides)
    places = _places(data, artifacts)
    loaded = specs.load_spec(spec, overrides)
    resolved = specs.resolve(loaded, places)
    for key, value in loaded.space.items():
        if isinstance(value, list) or (isinstance(value, str) and ".." in value):
            raise InvalidRequest(f"{key} = {value!r}: a trial has one value of each hyperparameter")
    values: dict[str, Any] = dict(loaded.space)
    chosen = known.make(resolved.method, values)
    if save is not None:
        _check_file("--save", save)
    use_threads(resolved.resources.cpus_per_trial)  # as a study's workers do, for equal numbers
    bench = shared_workbench(specs.scenario_of(resolved), places)
    with Progress(Console(stderr=True)) as progress:
        expensive = specs.measured(resolved)
        generators = getattr(chosen, "generators", 0)
        stages = bench.prerequisites(chosen.needs, expensive, generators)
        names = [name for stage in stages for name in stage]
        for done, name in enumerate(names, start=1):
            progress.doing(f"preparing {done}/{len(names)}: {name}")
            found = bench.prepare(name)
            if found["origin"] != "cached":
                progress.prepared(name, found, done, len(names))
        progress.doing(f"unlearning with {resolved.method}")
        outcome, model_found = run_trial(
            bench, resolved.method, values, seed, resolved.trial_timeout, expensive
        )
    if save is not None and model_found is not None:
        with _writing("--save", save):
            save_model(model_found, save, bench.image_shape[1:])
    if as_json:
        print(json.dumps({**asdict(outcome), "references": bench.references}, indent=2))
    else:
        _print_outcome(outcome, bench.references)
    if outcome.state is not State.COMPLETE:
        raise typer.Exit(1)


def _print_outcome(outcome: Any, references: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from search.tables import number, show
    from trainables.outcome import METRICS

    values = ", ".join(f"{k}={v}" for k, v in outcome.hyperparameters.items())
    table = Table(
        title=f"{outcome.method}({values}), seed {outcome.seed}: {outcome.state}",
        title_justify="left",
    )
    table.add_column("metric")
    for heading in ("base", "retrained", "unlearned"):
        table.add_column(heading, justify="right")
    table.add_column("meaning")
    for name, meaning in METRICS.items():
        compared = [number(references.get(key, {}).get(name), 2) for key in ("base", "retrained")]
        table.add_row(name, *compared, number(outcome.metrics.get(name), 2), meaning)
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


def _show_findings(study: Any, results: Path) -> None:
    from rich.console import Console

    from search import tables
    from search.analysis import best as select

    table = study.results()
    console = Console()
    if select.complete(table).num_rows == 0:
        console.print(_nothing_found(table, None), highlight=False, soft_wrap=True)
        return
    front = select.pareto(table).to_pylist()
    chosen = select.by_gap(table).slice(0, 1).to_pylist()
    tables.show(console, tables.configurations("Pareto front", front, False))
    tables.show(console, tables.configurations("Best configuration", chosen, False))
    _show_agreement(table)
    where = "" if results == Path("results") else f" --results {results}"
    console.print(f"more: forgetune best {study.name}{where}", highlight=False, soft_wrap=True)


def _show_agreement(table: Any) -> None:
    """How well the synthetic images of a study stand for the real ones, if it looked at both."""
    from rich.console import Console

    from search.analysis.agreement import agreement

    if table["m_synthetic_gap"].null_count == table.num_rows:
        return
    found = agreement(table)
    if found is not None:
        console = Console(soft_wrap=True)
        console.print(f"synthetic and real validation rank the trials alike to {found}")


def _scan(results: Path, study: str | None) -> Any:
    from search import results as store
    from trainables.errors import InvalidRequest

    table, damaged = store.examine(results, study)
    names = store.study_names(results)
    for item in damaged:
        print(f"forgetune: left out {item}", file=sys.stderr)
    if table.num_rows == 0:
        if not names:
            store.existing(results, study or "")
        raise InvalidRequest(f"no trial of {study or 'any study'} in {results} has settled yet")
    return table


def _nothing_found(table: Any, forget_at_most: float | None) -> str:
    from search.analysis.best import complete, figures

    done = complete(table).num_rows
    if forget_at_most is not None and done:
        lowest = min(figures(row).forget for row in complete(table).to_pylist())
        return (
            f"none of {done} trials forgets to {forget_at_most:g} %; the lowest forget accuracy "
            f"is {lowest:.1f} %"
        )
    states: dict[str, int] = {}
    for state in table["state"].to_pylist():
        states[state] = states.get(state, 0) + 1
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    first = next((reason for reason in table["reason"].to_pylist() if reason), "")
    return f"no trial completed ({counts}); the first said: {first}"


def _given(**values: Any) -> dict[str, Any]:
    """What was given on the command line."""
    return {key: value for key, value in values.items() if value not in (None, {})}


def _scenario(
    dataset: str | None,
    model: str | None,
    width: float | None,
    forget: list[str] | None,
    gan: str | None,
    weights: Path | None,
    image_size: str | None,
) -> dict[str, Any]:
    return _given(
        dataset=dataset,
        model=model,
        width=width,
        forget=forget or None,
        gan=gan,
        weights=None if weights is None else str(weights),
        image_size=None if image_size is None else _pixels(image_size),
    )


def _pixels(text: str) -> list[int]:
    from trainables.errors import InvalidRequest

    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise InvalidRequest(
            f"--image-size {text!r}: give pixels, as 32 or as 28x32 (rows x columns)"
        )
    return [int(parts[0]), int(parts[-1])]


def _zero_shot(overrides: dict[str, Any]) -> dict[str, Any]:
    """No dataset, and what follows from that; what was given otherwise is refused later."""
    scenario = {"dataset": "none", **overrides.get("scenario", {})}
    return {"method": "zmugan", "objective": "synthetic", **overrides, "scenario": scenario}


@contextmanager
def _writing(option: str, path: Path) -> Iterator[None]:
    """Tells what could not be written, in one line."""
    from trainables.errors import InvalidRequest

    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InvalidRequest(f"{option} {path}: cannot be written ({reason})") from None


def _check_file(option: str, path: Path) -> None:
    from trainables.errors import InvalidRequest

    if path.is_dir() or not path.parent.is_dir():
        raise InvalidRequest(f"{option} {path}: give a file in a folder that is there")


def _settings(texts: list[str] | None) -> dict[str, Any]:
    from search.space import parse_setting

    return dict(parse_setting(text) for text in texts or [])


def _places(data: Path | None, artifacts: Path | None) -> Any:
    from trainables.scenario import Places

    given = _given(data=data, artifacts=artifacts)
    return Places(**given)


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
