"""What the hyperparameters do."""

from __future__ import annotations

import shlex

from search.analysis.importance import importance
from search.definition.space import SearchSpace
from search.report import trials
from search.report.blocks import Block, Plot, Section, Text
from search.report.gathered import Gathered
from search.report.plots import hyperparameters as value_plots
from search.report.plots import sweeps as sweep_plots
from trainables.errors import InvalidRequest
from trainables.outcome import State

OPTIMISERS = ("tpe", "gp", "nsga2")
"""Samplers that look where it was good before."""


def section(study: Gathered) -> Section | None:
    """Designed sweeps, the search's own trials, importance, parallel coordinates."""
    blocks: list[Block] = []
    split = "test" if any(r.get("m_test_gap") is not None for r in study.rows) else "synthetic"
    retrained = study.references.get("retrained")
    for index, sweep in enumerate(study.sweeps):
        over = " and ".join(sweep.names)
        try:
            figure = sweep_plots.sensitivity_plot(sweep.points, sweep.names, split, retrained)
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
                value_plots.hyperparameter_scatter(study.rows),
                "A point for each trial of the search; several hyperparameters change at once.",
                filtered=True,
            ),
        ]
        blocks += _importance(study)
    if len(complete) > 1 and trials.varying(complete):
        blocks.append(
            Plot(
                "parallel",
                value_plots.parallel(study.rows),
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
            value_plots.importances(found, of),
            f"fANOVA over {found[0].trials} complete trials; bars: 95 % bootstrap intervals over "
            "trials. A wide interval means that the order may be chance.",
        )
    ]
