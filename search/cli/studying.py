"""Commands that repeat configurations: sensitivity, classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from search.cli import completing, options
from search.cli.options import MOST, Artifacts, Data, OptionalStr, Output, Results, Style
from search.cli.presenting import check_any_complete, check_form, file_of, present, written

Plot = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="write the plot to this file (HTML, interactive)"),
]
CommonSpec = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="TOML file that describes the study"),
]
Fixed = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set",
        help="NAME=VALUE: a hyperparameter that has this value instead of the best one's; repeat",
        metavar="NAME=...",
    ),
]
Origin = Annotated[
    OptionalStr,
    typer.Option(
        help="a study that is there [default: the one of the other options]",
        autocompletion=completing.studies,
    ),
]


def sensitivity(
    given: dict[str, Any],
    parameters: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="one hyperparameter or two (a map): NAME, NAME=A,B,C or NAME=LOW..HIGH",
            metavar="PARAM",
        ),
    ] = None,
    study: Origin = None,
    spec: CommonSpec = None,
    settings: Fixed = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="the grids of the thesis' tables 7-14")
    ] = False,
    count: Annotated[
        int,
        typer.Option(
            "--points", help="values of each range (grid) or in all (sobol)", min=1, max=MOST
        ),
    ] = 8,
    design: Annotated[
        str,
        typer.Option(help="grid or sobol", autocompletion=completing.one_of("grid", "sobol")),
    ] = "grid",
    repeats: Annotated[
        int, typer.Option(help="runs of each point, with other seeds", min=1, max=MOST)
    ] = 5,
    split: Annotated[
        OptionalStr,
        typer.Option(
            "--on",
            help="test, validation or synthetic images [default: test]",
            autocompletion=completing.one_of("test", "validation", "synthetic"),
        ),
    ] = None,
    style: Style = "text",
    output: Output = None,
    plot: Plot = None,
    results: Results = Path("results"),
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Tables 7-14: a designed sweep over a hyperparameter, all else fixed.

    Fixed at the study's best configuration (--study, or the study that `forgetune run` makes with
    the same options), or at the method's defaults where there is none; --set overrides. Every point
    is run equally often, so the curve is not biased as an optimiser's trials are. Interrupted, it
    goes on where it was.
    """
    from rich.console import Console

    from search.analysis import sensitivity as curves
    from search.definition.resolved import forgotten
    from search.definition.spec import measured
    from search.designs import repeats as repeating
    from search.designs import sweeps
    from search.show import tables
    from search.store.results import described
    from trainables.errors import InvalidRequest, unknown

    check_form(style, output)
    options.check_file("--plot", plot)
    for what, said, known in (
        ("design", design, sweeps.DESIGNS),
        ("kind of images", split or "test", curves.SPLITS),
    ):
        if said not in known:
            raise InvalidRequest(unknown(what, said, known))
    if paper == bool(parameters) or len(parameters or []) > 2:
        raise InvalidRequest("give one hyperparameter, or two for a map, or --paper")
    console, places = Console(stderr=True), options.places(data, artifacts)
    about = _origin(study, spec, given, results, places)
    fixed, origin, told = _configuration(about, results, settings)
    wanted = [_parameters(parameters)] if parameters else sweeps.paper_sweeps(about.method)
    if not wanted:
        raise InvalidRequest(f"{about.method} has none of {', '.join(sweeps.PAPER)}")
    designs = [sweeps.design(about, each, count, design) for each in wanted]
    split = split or ("synthetic" if about.scenario.dataset == "none" else "test")
    if split == "synthetic" and "synthetic" not in measured(about):
        raise InvalidRequest(
            "this study does not measure synthetic images; start from one with --metrics synthetic "
            "or --objective synthetic"
        )
    for line in (f"forgetting {forgotten(about, places)}", f"all else fixed at {told}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    rows: list[Any] = []
    for done, points in enumerate(designs, start=1):
        names = list(points[0])
        console.print(
            f"sweep {done} of {len(designs)}: {', '.join(names)}, {len(points)} points, "
            f"{repeats} runs each",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        swept = sweeps.sweep(about, points, fixed, repeats)
        ran = repeating.run(swept, results / repeating.SWEEPS, places, console, origin)
        # Of a sweep that was repeated more often before, as many as are asked for.
        asked = ran.results().slice(0, len(points) * repeats)
        rows += asked.to_pylist()
        found = curves.points(asked, names)
        sheet = curves.sheet(found, names, split)
        title = f"Sensitivity of {about.method} to {' and '.join(names)}, on {split} images"
        caption = (
            f"mean ± standard deviation over {repeats} unlearning seeds; accuracies and MIA in %, "
            f"gap in points; fixed: " + written(fixed, names)
        )
        part = None if len(designs) == 1 else "-".join(names)
        table = tables.sheet_table(sheet, title, caption)
        present(sheet, style, file_of(output, part), table)
        if plot is not None:
            from search.report.plots import sensitivity_plot, write_figure

            kept = described(ran.folder)
            figure = sensitivity_plot(
                found, names, split, kept.get("references", {}).get("retrained"), title
            )
            path = file_of(plot, part)
            assert path is not None
            with options.writing("--plot", path):
                write_figure(figure, path)
            console.print(f"plot: {path}", markup=False, highlight=False, soft_wrap=True)
    check_any_complete(rows)


def classes(
    given: dict[str, Any],
    study: Origin = None,
    spec: CommonSpec = None,
    settings: Fixed = None,
    targets: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--target",
            help="class to forget, by name or number (from 0), a name first; repeat [default: "
            "every class]",
        ),
    ] = None,
    best_per_class: Annotated[
        bool, typer.Option("--best-per-class", help="search each class for its own best")
    ] = False,
    repeats: Annotated[
        int, typer.Option(help="runs of each target, with other seeds", min=1, max=MOST)
    ] = 3,
    split: Annotated[
        str,
        typer.Option(
            "--on",
            help="test or validation images",
            autocompletion=completing.one_of("test", "validation"),
        ),
    ] = "test",
    style: Style = "text",
    output: Output = None,
    plot: Plot = None,
    results: Results = Path("results"),
    data: Data = None,
    artifacts: Artifacts = None,
) -> None:
    """Figures 8-10: forget each class in turn, and look at the accuracy on every class.

    With one configuration for all, chosen as for `forgetune sensitivity`, or with the best of a
    search for each. Interrupted, it goes on where it was.
    """
    from rich.console import Console

    from search.analysis import by_class
    from search.designs.targets import forget_each
    from search.show import tables
    from trainables.data.classes import index_of, short, typed
    from trainables.data.sources import read
    from trainables.errors import InvalidRequest, unknown

    check_form(style, output)
    options.check_file("--plot", plot)
    if split not in by_class.SPLITS:
        raise InvalidRequest(unknown("kind of images", split, by_class.SPLITS))
    if best_per_class and settings:
        raise InvalidRequest("give --best-per-class or --set, not both")
    if "trials" in given and not best_per_class:
        raise InvalidRequest("--trials is for the searches of --best-per-class")
    console, places = Console(stderr=True), options.places(data, artifacts)
    about = _origin(study, spec, given, results, places)
    if about.scenario.dataset == "none":
        raise InvalidRequest("accuracies of classes are measured on images: a dataset is needed")
    raw = read(about.scenario.dataset, places.data)
    labels = list(range(len(raw.classes)))
    if targets:
        known = typed(targets, raw.classes)
        labels = sorted({index_of(target, raw.classes, raw.name) for target in known})
    chosen = None if best_per_class else _configuration(about, results, settings)
    told = chosen.told if chosen else f"the best of {about.trials} trials for each class"
    console.print(f"with {told}", markup=False, highlight=False, soft_wrap=True)
    found = forget_each(
        about, results, places, console, labels=labels, chosen=chosen, seeds=repeats
    )
    title = f"Accuracy of {about.method} by class, on {split} images"
    caption = f"mean ± standard deviation over {repeats} unlearning seeds, in %; with {told}"
    sheet = by_class.sheet(found, raw.classes, split)
    present(sheet, style, output, tables.sheet_table(sheet, title, caption))
    means = by_class.summary(found, len(raw.classes), split)
    if means:
        console.print(
            f"on average {means['forgotten']:.1f} % of a forgotten class are still right, and "
            f"{means['kept']:.1f} % of the others",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if plot is not None:
        from search.report.plots import class_map, write_figure

        with options.writing("--plot", plot):
            names = [short(label, raw.classes) for label in range(len(raw.classes))]
            write_figure(class_map(found, names, split, title), plot)
        console.print(f"plot: {plot}", markup=False, highlight=False, soft_wrap=True)
    check_any_complete(row for target in found for row in target.repeats)


def _origin(
    study: str | None, spec: Path | None, given: dict[str, Any], root: Path, places: Any
) -> Any:
    """The resolved specification of the study that is to be repeated: one that is there, of which
    the options change at most how it is run, or the one that they describe."""
    from search.definition.reading import merge, validate
    from search.definition.spec import EXECUTION
    from search.designs.repeats import stored
    from search.study import Study
    from trainables.errors import InvalidRequest

    if study is None:
        return Study(options.load(spec, given, places), root=root, places=places).spec
    if spec is not None or not {*given} <= {*EXECUTION}:
        raise InvalidRequest("--study says all of method and scenario: give it or those, not both")
    changed = merge(stored(root, study).model_dump(mode="json"), given)
    return Study(validate(changed), root=root, places=places).spec


def _configuration(about: Any, root: Path, settings: list[str] | None) -> Any:
    """The configuration (`search.designs.repeats.Chosen`) that the command is about."""
    from search.definition.space import Fixed, parse_override
    from search.designs.repeats import configuration
    from search.store.results import study_folder
    from search.store.status import status
    from trainables.errors import InvalidRequest

    given = options.settings(settings)
    for name, value in given.items():
        if not isinstance(parse_override(name, value), Fixed):
            raise InvalidRequest(f"--set {name}: give one value; what is swept is named apart")
    chosen = configuration(about, root, given)
    if study_folder(root, about.name).is_dir():
        found = status(root, about.name)
        if found.holder is not None:
            running = f"; that study is still running, {found.settled} trials have settled"
            chosen = chosen._replace(told=chosen.told + running)
    return chosen


def _parameters(texts: list[str]) -> dict[str, Any]:
    from search.definition.space import parse_setting

    wanted = dict(parse_setting(text) if "=" in text else (text, None) for text in texts)
    return wanted
