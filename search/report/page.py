"""Pages as text: one HTML file each, with all it needs in it."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from search.report import trials
from search.report.blocks import Block, Plot, Section
from search.report.gather import gather
from search.report.gathered import Gathered
from search.report.plots.points import TRIALS
from search.report.study import sections
from search.report.style import CONFIG
from search.store.mirror import place_of


def study_page(root: Path, name: str) -> str:
    """The page of a study in the results folder `root`, as HTML that needs no network.

    Raises InvalidRequest, in one line, if there is no such study or nothing has settled yet.
    """
    study = gather(root, name)
    return _page(
        title=study.name,
        kind="Study",
        about=about(study),
        sections=sections(study),
        labels={row["number"]: trials.label(row) for row in study.rows},
        states=sorted({row["state"] for row in study.rows}),
        count=len(study.rows),
    )


def comparison_page(root: Path, names: Sequence[str]) -> str:
    """A page that compares studies of a results folder, as HTML that needs no network.

    Studies in which nothing has settled are named and left out. Raises InvalidRequest, in one line,
    for a study that is not there and if nothing has settled in any.
    """
    from search.report.groups import gather_all
    from search.report.studies import comparison_sections

    studies, problems = gather_all(root, names)
    return _page(
        title=f"{len(studies)} studies" if len(studies) > 1 else studies[0].name,
        kind="Comparison",
        about=f"in {place_of(root)}",
        sections=comparison_sections(studies, problems),
    )


def about(study: Gathered) -> str:
    """What a study is about, in one line."""
    row = study.rows[0]
    sampler = " and ".join(sorted({r["sampler"] for r in study.rows}))
    forget = ", ".join(study.classes[label] for label in study.forget if label < len(study.classes))
    parts = [
        f"{row['method']} on {row['dataset']} ({row['model']})",
        f"forgetting class {forget or row['forget']}",
        f"sampler {sampler}",
    ]
    if row.get("objective"):
        parts.append(f"objective {row['objective']}")
    return ", ".join(parts)


def _page(
    *,
    title: str,
    kind: str,
    about: str,
    sections: Sequence[Section],
    labels: dict[int, str] | None = None,
    states: Sequence[str] = (),
    count: int = 0,
) -> str:
    template = _environment().get_template("page.html")
    return template.render(
        title=title,
        kind=kind,
        about=about,
        sections=sections,
        labels=labels,
        states=states,
        count=count,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        config=CONFIG,
        css=Markup(_resource("page.css")),
        script=Markup(_resource("page.js")),
        plotly=Markup(get_plotlyjs()),
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = block_kind
    environment.filters["ticked"] = ticked
    environment.filters["figure"] = figure_json
    environment.filters["as_json"] = as_json
    return environment


def _resource(name: str) -> str:
    return importlib.resources.files("search.report").joinpath(name).read_text(encoding="utf-8")


def block_kind(block: Block) -> str:
    """The name of a block's kind, as the template asks for it."""
    return type(block).__name__.lower()


def ticked(text: str) -> Markup:
    """Text with what stands between backticks as code; all else is escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a backtick without its other one is just that
        return escape(text)
    marked = (
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece)
        for index, piece in enumerate(pieces)
    )
    return Markup("").join(marked)


def as_json(value: Any) -> Markup:
    """JSON inside an HTML script element, out of which nothing can break."""
    return _safe(json.dumps(value))


def _safe(text: str) -> Markup:
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def figure_json(plot: Plot, has_labels: bool) -> Markup:
    """A figure as JSON. On a page that has the labels of all trials once, points of trials lose
    theirs: the script gives them back by number."""
    text: str = plot.figure.to_json()
    if has_labels:
        values = json.loads(text)
        for trace in values["data"]:
            if trace.get("meta") == TRIALS:
                trace.pop("hovertext", None)
        text = json.dumps(values)
    return _safe(text)
