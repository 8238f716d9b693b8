"""The sections of a study's page. Pure functions from what was gathered.

Configurations are chosen by what steered the study; test figures are shown and choose nothing.
"""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tomli_w

from search.analysis.agreement import agreement
from search.analysis.best import GAPS, by_gap, pareto, remarks
from search.analysis.importance import importance
from search.analysis.sheets import cell
from search.definition.space import SearchSpace
from search.report import trials
from search.report.blocks import (
    Block,
    Cards,
    Cell,
    Code,
    Line,
    Pictures,
    Plot,
    Section,
    Table,
    Text,
    amount,
    word,
)
from search.report.gather import ClassMap, Confirmed, Gathered, left_out
from search.report.plots import curves as course_plots
from search.report.plots import designs as design_plots
from search.report.plots import trials as trial_plots
from search.show.progress import duration
from search.show.tables import hyperparameters
from search.store.mirror import place_of
from search.store.results import Row
from search.store.scenarios import control_of
from search.store.status import failed as count_failed
from trainables.errors import InvalidRequest
from trainables.outcome import State

TOP = 10
"""Configurations in the table of the best."""

OPTIMISERS = ("tpe", "gp", "nsga2")
"""Samplers that look where it was good before."""

CHOSEN = "validation (chose)"
LOOKED_AT = "test (only looked at)"

_PROBE = {"probe": "probe", "gap with probe": "probe_gap"}
_REAL = {
    **{"forget": "forget_accuracy", "retain": "retain_accuracy", "MIA": "mia", "gap": "gap"},
    **_PROBE,
}
_SYNTHETIC = {name: _REAL[name] for name in ("forget", "retain", "gap")}


def sections(study: Gathered) -> list[Section]:
    """All sections that have something to show, in their order."""
    made = [make(study) for make in SECTIONS]
    return [section for section in made if section is not None and section.blocks]


def figure_columns(rows: Sequence[Mapping[str, Any]], synthetic: bool) -> dict[str, dict[str, str]]:
    """Columns of metrics by group: heading -> metric. Groups that nothing was measured of are left
    out, and so is the probe, which earlier versions did not measure."""

    def measured(metric: str) -> bool:
        return any(row.get(f"m_{metric}") is not None for row in rows)

    groups = {CHOSEN: _REAL, LOOKED_AT: {k: f"test_{v}" for k, v in _REAL.items()}}
    if synthetic:
        own = {heading: f"synthetic_{metric}" for heading, metric in _SYNTHETIC.items()}
        groups = {
            "synthetic images (chose)": own,
            "validation (only looked at)": _REAL,
            LOOKED_AT: groups[LOOKED_AT],
        }
    return {
        group: {
            heading: metric
            for heading, metric in columns.items()
            if heading not in _PROBE or measured(metric)
        }
        for group, columns in groups.items()
        if any(map(measured, columns.values()))
    }


def figure_cells(row: Mapping[str, Any], groups: Mapping[str, Mapping[str, str]]) -> list[Cell]:
    metrics = [metric for columns in groups.values() for metric in columns.values()]
    return [amount(trials.finite(row.get(f"m_{metric}"))) for metric in metrics]


def as_row(metrics: Mapping[str, float]) -> dict[str, Any]:
    return {f"m_{name}": value for name, value in metrics.items()}


def _reference_lines(
    study: Gathered, groups: Mapping[str, Mapping[str, str]], before: int, after: int
) -> list[Line]:
    """Lines of the original and the retrained model and of the control, with empty cells around
    their figures."""
    return [
        Line(
            [
                word(name),
                *[Cell("")] * (before - 1),
                *figure_cells(as_row(metrics), groups),
                *[Cell("")] * after,
            ],
            reference=True,
        )
        for name, metrics in study.references.items()
    ]


def _best(study: Gathered) -> Row | None:
    found: list[Row] = by_gap(study.table).slice(0, 1).to_pylist()
    return found[0] if found else None


def overview(study: Gathered) -> Section:
    """The best configuration beside the models it is judged by, and how the study stands."""
    best, counts = _best(study), study.status.states
    blocks: list[Block] = [*notices(study)]
    complete = counts.get(State.COMPLETE, 0)
    seconds = [r["unlearn_seconds"] for r in study.rows if r.get("unlearn_seconds") is not None]
    cards = [
        (
            "trials",
            f"{complete} complete",
            f"{counts.get(State.PRUNED, 0)} pruned, {count_failed(counts)} failed"
            + (f"; {study.status.target} wanted" if study.status.target else ""),
        )
    ]
    if best is not None:
        found = trials.seen(best)
        to = "ideal, synthetic images" if study.synthetic else "retrained, validation"
        cards.insert(
            0,
            (
                f"best: trial {best['number']}",
                f"{GAPS['probe_gap' if study.probed else 'gap']} {_number(found.gap)} points",
                f"to the {to}; forget {_number(found.forget)} %, retain {_number(found.retain)} %",
            ),
        )
    if seconds:
        least, most = min(seconds), max(seconds)
        cards.append(
            (
                "unlearning, median",
                f"{statistics.median(seconds):.3g} s",
                f"{least:.3g} to {most:.3g} s over {_counted(len(seconds))}",
            )
        )
    blocks.append(Cards(cards))
    if best is not None:
        references = [as_row(metrics) for metrics in study.references.values()]
        groups = figure_columns([best, *references], study.synthetic)
        lines = [
            Line([word(f"unlearned (trial {best['number']})"), *figure_cells(best, groups)]),
            *_reference_lines(study, groups, 1, 0),
        ]
        blocks.append(grouped_table(["model"], groups, [], lines, caption=_caption(study)))
        blocks.append(Text(f"Its hyperparameters: `{trials.settings(best)}`"))
        control = control_of(study.described)
        blocks += [Text(told, "note") for told in remarks(study.table, control)]
    return Section("overview", "Overview", blocks)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _caption(study: Gathered) -> str:
    units = "Accuracies, MIA and probe in %, gap in points: to the retrained model"
    if study.synthetic:
        return (
            f"{units}, on synthetic images to the ideal (0 and 100 %). Images of inverted "
            "generators chose; real images, where there are any, were only looked at."
        )
    by = ", by the gap with the probe" if study.probed else ""
    told = f"{units}. Validation images chose{by}; test images were only looked at."
    if "control" in study.references:
        told += " The control, an output of the original model switched off, forgets nothing."
    return told


def grouped_table(
    before: Sequence[str],
    groups: Mapping[str, Mapping[str, str]],
    after: Sequence[str],
    lines: Sequence[Line],
    **given: Any,
) -> Table:
    """A table with metrics in groups between other columns."""
    headings = [heading for columns in groups.values() for heading in columns]
    over = [("", len(before)), *((name, len(columns)) for name, columns in groups.items())]
    if after:
        over.append(("", len(after)))
    return Table([*before, *headings, *after], lines, over, **given)


def notices(study: Gathered) -> list[Text]:
    """What a reader must know before anything else."""
    found, now, counts = [], study.status, study.status.states
    if now.holder is not None:
        left = "" if now.seconds_left is None else f", about {duration(now.seconds_left)} left"
        target = "?" if now.target is None else now.target
        found.append(
            f"This study is still running ({now.holder}): {now.settled} of {target} trials have "
            f"settled, {now.running} are running{left}. The page shows what there was when it was "
            "made."
        )
    elif now.target is not None and now.settled < now.target:
        found.append(
            f"This study is not finished: {now.settled} of {now.target} trials have settled, and "
            "nobody runs it. The same `forgetune run` continues it."
        )
    complete = counts.get(State.COMPLETE, 0)
    if complete == 0:
        ended = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        found.append(
            f"No trial completed ({ended}), so there is no best configuration and nothing to "
            "compare; the reasons are under States and failures."
        )
    elif complete == 1:
        found.append("Only one trial completed: nothing here can be compared with anything.")
    found += [*study.problems, *study.beside, *left_out([study])]
    return [Text(text, "warning") for text in found]


def front(study: Gathered) -> Section | None:
    """Forget against retain accuracy."""
    if not study.status.states.get(State.COMPLETE):
        return None
    figure = trial_plots.pareto(study.rows, pareto(study.table).to_pylist(), study.references)
    caption = (
        "Ringed trials are beaten by no other. Stars: the original model, the one retrained "
        "without the forget set and, where it was measured, the control, which only switches an "
        "output off. The colours end at the 90th percentile of the gap."
    )
    return Section("front", "Pareto front", [Plot("pareto", figure, caption, filtered=True)])


def best_configurations(study: Gathered) -> Section | None:
    """The first of `by_gap` as a table."""
    rows = by_gap(study.table).slice(0, TOP).to_pylist()
    if not rows:
        return None
    references = [as_row(metrics) for metrics in study.references.values()]
    groups = figure_columns([*rows, *references], study.synthetic)
    lines = [
        Line(
            [
                Cell(str(row["number"]), row["number"], rank == 0),
                *figure_cells(row, groups),
                amount(row.get("unlearn_seconds"), 2),
                word(trials.settings(row)),
            ]
        )
        for rank, row in enumerate(rows)
    ]
    lines += _reference_lines(study, groups, 1, 2)
    table = grouped_table(
        ["trial"], groups, ["seconds", "hyperparameters"], lines, caption=_caption(study)
    )
    return Section("best", "Best configurations", [table])


def history(study: Gathered) -> Section | None:
    """Gap by trial number."""
    return Section(
        "course",
        "Search history",
        [Plot("history", trial_plots.history(study.rows), filtered=True)],
    )


def hyperparameter_section(study: Gathered) -> Section | None:
    """Designed sweeps, the search's own trials, importance, parallel coordinates."""
    blocks: list[Block] = []
    split = "test" if any(r.get("m_test_gap") is not None for r in study.rows) else "synthetic"
    retrained = study.references.get("retrained")
    for index, sweep in enumerate(study.sweeps):
        over = " and ".join(sweep.names)
        try:
            figure = design_plots.sensitivity_plot(sweep.points, sweep.names, split, retrained)
        except InvalidRequest as error:
            blocks.append(Text(f"{sweep.study}: {error}", "note"))
            continue
        blocks.append(
            Plot(
                f"sensitivity-{index}",
                figure,
                f"Designed sweep over {over}: each point ran equally often, all else fixed as in "
                f"{'; '.join(map(str, sweep.origins))} ({trials.written(sweep.fixed)}). Mean "
                + (
                    "± one standard deviation over repeats"
                    if len(sweep.names) == 1
                    else "of repeats"
                )
                + f", on {split} images"
                + (", which were only looked at." if split == "test" else "."),
            )
        )
    complete = [row for row in study.rows if row["state"] == State.COMPLETE]
    names = list(trials.varying(study.rows))
    if not study.sweeps and study.spec:
        likely = [*(name for name in names if name == "learning_rate"), *names, "NAME"]
        blocks.append(
            Text(
                f"There is no designed sweep of this study yet: `forgetune sensitivity {likely[0]} "
                f"--study {shlex.quote(study.name)}` makes one.",
                "note",
            )
        )
    if names and any(trials.seen(row).gap is not None for row in study.rows):
        blocks += [
            _bias(study),
            Plot(
                "hyperparameters",
                trial_plots.hyperparameter_scatter(study.rows),
                "A point for each trial of the search; several hyperparameters change at once.",
                filtered=True,
            ),
        ]
        blocks += _importance(study)
    if len(complete) > 1 and trials.varying(complete):
        blocks.append(
            Plot(
                "parallel",
                trial_plots.parallel(study.rows),
                "Complete trials. Drag along an axis to keep only the lines that pass there; click "
                "the axis to undo it.",
            )
        )
    return Section("sensitivity", "Hyperparameters", blocks)


def _bias(study: Gathered) -> Text:
    samplers = sorted({row["sampler"] for row in study.rows})
    leaning = [name for name in samplers if name in OPTIMISERS]
    if leaning:
        return Text(
            f"The trials of the search are no sensitivity curve. {' and '.join(leaning)} "
            f"{'crowds' if len(leaning) == 1 else 'crowd'} trials near the optimum it hopes for, "
            "so that other regions are thin and seem better or worse than they are. Designed "
            "sweeps (`forgetune sensitivity`) have no such bias.",
            "note",
        )
    return Text(
        f"These trials were drawn by {' and '.join(samplers)}, which does not look at results, so "
        "they are not biased towards the optimum. Several hyperparameters still change at once.",
        "note",
    )


def _importance(study: Gathered) -> list[Block]:
    if not study.spec:
        return []
    try:
        space = SearchSpace(study.spec["method"], dict(study.spec["space"]))
        found = importance(study.table, space.distributions, "gap")
    except InvalidRequest as error:
        return [Text(f"No importance of hyperparameters: {error}.", "note")]
    of = "gap on synthetic images" if study.synthetic else "gap on validation images"
    return [
        Plot(
            "importance",
            trial_plots.importances(found, of),
            f"fANOVA over {found[0].trials} complete trials; bars: 95 % bootstrap intervals over "
            "trials. A wide interval means that the order may be chance.",
        )
    ]


def map_caption(found: ClassMap) -> str:
    """What a map over classes shows, which configuration made it (or that each class has its own)
    and what that was made from."""
    repeats = max(len(target.repeats) for target in found.targets)
    seeds = "one repeat" if repeats == 1 else f"up to {repeats} repeats"
    first = found.targets[0].configuration
    own = any(target.configuration != first for target in found.targets)
    values = "each with a configuration of its own" if own else trials.written(first)
    return (
        f"A line for each forgotten class (framed), mean of {seeds}, with {found.made_from} "
        f"({values}); test images, which were only looked at."
    )


def shown_maps(study: Gathered) -> list[ClassMap]:
    """The maps over classes that the study's classes are known for."""
    known = len(study.classes)
    return [m for m in study.maps if all(target.label < known for target in m.targets)]


def by_class(study: Gathered) -> Section | None:
    """A map over forget classes, or the best trial class by class."""
    blocks: list[Block] = []
    classes, best = study.classes, _best(study)
    maps = shown_maps(study)
    for index, found in enumerate(maps):
        blocks.append(
            Plot(
                "classes" if index == 0 else f"classes-{index}",
                design_plots.class_map(found.targets, classes),
                map_caption(found),
            )
        )
    if not maps and best is not None and best.get("class_accuracy") and classes:
        blocks.append(
            Plot(
                "classes",
                design_plots.class_bars(_class_accuracies(study, best), classes, study.forget),
                f"The best configuration (trial {best['number']}) class by class; test images were "
                "only looked at.",
            )
        )
    if blocks and not maps and study.spec:
        blocks.append(
            Text(
                f"`forgetune classes --study {shlex.quote(study.name)}` forgets each class in turn "
                "and makes a map of it.",
                "note",
            )
        )
    return Section("by-class", "Class by class", blocks)


def _class_accuracies(study: Gathered, best: Row) -> dict[str, dict[str, Sequence[float | None]]]:
    """By split and model; lists that do not fit the classes are left out."""
    found = {}
    for split, column in {
        "validation": "class_accuracy",
        "test, only looked at": "test_class_accuracy",
    }.items():
        models = {"unlearned": best.get(column)} | {
            name: lists.get(column) for name, lists in study.references_by_class.items()
        }
        found[split] = {n: v for n, v in models.items() if v and len(v) == len(study.classes)}
    return found


def confirmed(study: Gathered) -> Section | None:
    """Repeats of trials with other seeds."""
    best = _best(study)
    if not study.confirmed:
        if not study.spec or best is None:
            return None
        return Section(
            "confirmed",
            "Repeats of the best",
            [
                Text(
                    "The best of a search is partly luck. `forgetune compare "
                    f"{shlex.quote(study.spec['method'])}` repeats the best configurations with "
                    "other seeds.",
                    "note",
                )
            ],
        )
    lines, plotted = [], {}
    groups = figure_columns([r for c in study.confirmed for r in c.rows], study.synthetic)
    searched = {row["number"]: row for row in study.rows}
    for item in study.confirmed:
        row = searched[item.origin.trial]
        name = f"trial {item.origin.trial}"
        lines.append(_repeated(name, item, groups))
        gaps = [trials.seen(r).gap for r in item.rows if r["state"] == State.COMPLETE]
        plotted[name] = ([gap for gap in gaps if gap is not None], trials.seen(row).gap)
    table = grouped_table(
        ["configuration"],
        groups,
        ["seconds", "repeats"],
        lines,
        caption="Mean ± standard deviation over repeats with other seeds than the search's"
        + (
            " and over base models. "
            if any(len(item.base_seeds) > 1 for item in study.confirmed)
            else ". "
        )
        + _caption(study),
    )
    plot = Plot(
        "repeats",
        design_plots.repeats(plotted, trial_plots.gap_title(study.rows)),
        "Where the diamond lies below the mean, the search was lucky.",
    )
    told = [
        Text(f"{name}: `{trials.written(item.configuration)}`")
        for name, item in zip(plotted, study.confirmed, strict=True)
    ]
    numbers = [item.origin.trial for item in study.confirmed]
    if best is not None and best["number"] in numbers:
        return Section("confirmed", "Repeats of the best", [table, *told, plot])
    few = f"Repeats of trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    if best is not None:
        note = f"The best of the study, trial {best['number']}, has not been repeated."
        told.insert(0, Text(note, "note"))
    return Section("confirmed", few, [table, *told, plot])


def _repeated(name: str, item: Confirmed, groups: Mapping[str, Mapping[str, str]]) -> Line:
    complete = [row for row in item.rows if row["state"] == State.COMPLETE]
    metrics = [f"m_{metric}" for columns in groups.values() for metric in columns.values()]
    cells = [_mean(complete, column) for column in metrics]
    ended = len(item.rows) - len(complete)
    return Line(
        [
            word(name),
            *cells,
            _mean(complete, "unlearn_seconds", 2),
            Cell(f"{len(item.rows)}" + (f" ({ended} failed)" if ended else ""), len(item.rows)),
        ]
    )


def _mean(rows: Sequence[Row], column: str, digits: int = 1) -> Cell:
    found = cell([row[column] for row in rows if row.get(column) is not None], digits)
    return Cell(str(found), found.mean)


def phases(study: Gathered) -> Section | None:
    """Courses of unlearning, where they were recorded."""
    if not course_plots.has_curves(study.rows):
        return None
    best = _best(study)
    figure = course_plots.phases(study.rows, None if best is None else best["number"])
    return Section(
        "phases", "Over the phases", [Plot("phase-curves", figure, "Each line is one trial.")]
    )


def agreeing(study: Gathered) -> Section | None:
    """Synthetic against real validation, where both were measured."""
    both = [
        row
        for row in study.rows
        if row.get("m_gap") is not None and row.get("m_synthetic_gap") is not None
    ]
    if not both:
        return None
    figure = trial_plots.agreement(study.rows, agreement(study.table))
    caption = (
        "Kendall's tau says how alike both rank the trials: 1 the same order, 0 none in common, "
        "-1 the reverse. Without it there were fewer than three trials, or all alike."
    )
    return Section(
        "agreement",
        "Synthetic and real validation",
        [Plot("agreeing", figure, caption, filtered=True)],
    )


def training(study: Gathered) -> Section | None:
    """How the original and the retrained model learnt."""
    if not study.training_curves:
        return None
    caption = (
        "The retrained model never saw the forget classes, which count in this accuracy: it stays "
        "below the original."
    )
    figure = course_plots.training(study.training_curves)
    return Section("training", "Training of the models", [Plot("training-curves", figure, caption)])


def states(study: Gathered) -> Section:
    """How trials ended, and why."""
    blocks: list[Block] = [Plot("states", trial_plots.states(study.rows))]
    reasons = grouped_reasons(study.rows)
    if reasons:
        lines = [
            Line(
                [
                    word(state),
                    Cell(str(len(numbers)), len(numbers)),
                    word(text),
                    word(_few(numbers)),
                ]
            )
            for state, text, numbers in reasons
        ]
        caption = "Reasons that differ in numbers alone are one, told as the first trial had it."
        blocks.append(Table(["state", "trials", "reason", "which"], lines, caption=caption))
    return Section("states-and-failures", "States and failures", blocks)


def grouped_reasons(rows: Sequence[Row]) -> list[tuple[str, str, list[int]]]:
    """State, reason and trial numbers of trials that failed, the most frequent first; reasons are
    alike that differ in numbers alone."""
    groups: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for row in rows:
        if trials.failed(row):
            reason = row.get("reason") or "no reason given"
            key = (row["state"], re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", reason))
            groups.setdefault(key, (reason, []))[1].append(row["number"])
    found = [(state, reason, numbers) for (state, _), (reason, numbers) in groups.items()]
    return sorted(found, key=lambda item: -len(item[2]))


def _few(numbers: Sequence[int], most: int = 8) -> str:
    return ", ".join(map(str, numbers[:most])) + (", ..." if len(numbers) > most else "")


def time_spent(study: Gathered) -> Section:
    """Seconds by trial and in all."""
    blocks: list[Block] = []
    if any(row.get(column) is not None for row in study.rows for column in trial_plots.TIMES):
        blocks.append(Plot("times", trial_plots.times(study.rows)))
    lines = []
    built = study.described.get("preparation")
    if isinstance(built, Mapping) and built:
        own = {name: s for name, s in built.items() if isinstance(s, int | float)}
        found = len(built) - len(own)
        what = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in own.items()) or "nothing"
        remark = f"built: {what}" + (f"; {found} were there already" if found else "")
        lines.append(_total("preparation for this study", sum(own.values()), remark))
    for column, (name, _) in trial_plots.TIMES.items():
        known = [row[column] for row in study.rows if row.get(column) is not None]
        if known:
            remark = f"{_counted(len(known))}, median {statistics.median(known):.3g} s"
            if column == "queue_seconds":
                remark += "; one always waits for each worker, so that no worker waits"
            lines.append(_total(name, sum(known), remark))
    begun = min(row["started"] for row in study.rows)
    ended = max(row["finished"] for row in study.rows)
    lines.append(
        _total(
            "from the first trial's start to the last one's end",
            (ended - begun).total_seconds(),
            "by the clock, pauses included; all others are added up over trials",
        )
    )
    blocks.append(Table(["what", "seconds", "time", "remark"], lines))
    figure = trial_plots.timeline(study.rows)
    if figure is not None:
        caption = "A bar for each trial; those above each other ran at the same time."
        blocks.append(Plot("timeline", figure, caption))
    return Section("time", "Where the time went", blocks)


def _counted(trials_of_a_kind: int) -> str:
    return "1 trial" if trials_of_a_kind == 1 else f"{trials_of_a_kind} trials"


def _total(name: str, seconds: float, remark: str) -> Line:
    return Line([word(name), amount(seconds), word(duration(seconds)), word(remark)])


def previews(study: Gathered) -> Section | None:
    """What the generators make."""
    if not study.previews:
        return None
    return Section("previews", "Images of the generators", [Pictures(study.previews)])


def all_trials(study: Gathered) -> Section:
    """Every trial in one table, which sorts and filters."""
    groups = figure_columns(study.rows, study.synthetic)
    names = list(trials.varying(study.rows))
    with_reasons = any(row.get("reason") for row in study.rows)
    lines = []
    for row in study.rows:
        found, values = trials.seen(row), hyperparameters(row)
        cells = [Cell(str(row["number"]), row["number"]), word(row["state"])]
        cells += figure_cells(row, groups)
        cells.append(amount(row.get("unlearn_seconds"), 2))
        cells += [_setting(values.get(name)) for name in names]
        cells += [word(row.get("reason") or "")] if with_reasons else []
        data = {"number": row["number"], "state": row["state"]}
        data |= {"forget": found.forget, "gap": found.gap}
        lines.append(Line(cells, {key: v for key, v in data.items() if v is not None}))
    table = grouped_table(
        ["trial", "state"],
        groups,
        ["seconds", *names, *(["reason"] if with_reasons else [])],
        lines,
        id="trials",
        caption=_caption(study) + " Click a heading to sort.",
        sortable=True,
    )
    return Section("all-trials", "All trials", [table])


def _setting(value: Any) -> Cell:
    if value is None:
        return Cell("-")
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(trials.short(value), value if numeric else str(value))


def reproduction(study: Gathered) -> Section | None:
    """The exact specification and the commands that run it again."""
    blocks: list[Block] = []
    best, name = _best(study), shlex.quote(study.name)
    place = place_of(study.folder.parent)
    where = "" if place == "results" else f" --results {shlex.quote(place)}"
    if study.spec:
        blocks.append(
            Code(tomli_w.dumps(without_none(study.spec)), "Exact specification (study.toml)")
        )
        blocks.append(
            Code(f"forgetune run study.toml{where}", "The whole study again, or its rest")
        )
    if best is not None:
        command = (
            f"forgetune best {name}{where} --toml > best.toml && "
            f"forgetune trial best.toml --seed {best['seed']}"
        )
        blocks.append(Code(command, f"The best trial ({best['number']}) again"))
    versions = study.described.get("versions")
    if isinstance(versions, Mapping) and versions:
        lines = [Line([word(package), word(version)]) for package, version in versions.items()]
        blocks.append(Table(["package", "version"], lines))
    return Section("reproduce", "Specification and reproduction", blocks)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values without None, which TOML has not."""
    return {
        key: without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


SECTIONS: tuple[Callable[[Gathered], Section | None], ...] = (
    *(overview, front, best_configurations, history, hyperparameter_section, by_class, confirmed),
    *(phases, agreeing, training, states, time_spent, previews, all_trials, reproduction),
)
