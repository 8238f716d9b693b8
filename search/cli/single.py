"""The command that runs one configuration in the foreground: trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from search.cli import options
from search.cli.options import Artifacts, Data, SpecFile, ZeroShot
from search.cli.presenting import tell_saved


def trial(
    given: dict[str, Any],
    spec: SpecFile = None,
    zero_shot: ZeroShot = False,
    seed: Annotated[int, typer.Option(help="seed of the unlearning", min=0)] = 0,
    save: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="write the unlearned weights to this .safetensors file"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Run one configuration here and now, without Ray, and print what came of it.

    Hyperparameters not given keep the method's defaults. Without a file it draws samples of its own
    from generators, as there is no study to share them (unless --pool-samples is given).
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
    if spec is None:  # of no study, whose samples it could share
        given = {"pool_samples": False, **given}
    places = options.places(data, artifacts)
    loaded = options.load(spec, given, places, zero_shot)
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
        tell_saved(
            progress, save, outcome.metrics, bench.references, warn=outcome.method != "original"
        )
    elif save is not None:
        progress.say("there is no model to save")
    if as_json:
        print(json.dumps({**asdict(outcome), "references": bench.references}, indent=2))
    else:
        _print_outcome(outcome, bench.references, forgotten)
    if outcome.state is not State.COMPLETE:
        raise typer.Exit(1)


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
