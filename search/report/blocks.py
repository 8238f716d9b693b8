"""What a page is made of, as values; the template knows how each kind looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from search.analysis.sheets import Sheet
from search.show.tables import number


@dataclass(frozen=True)
class Text:
    """A paragraph; what stands between backticks is code. `kind`: plain, note or warning."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Plot:
    """A figure. With `filtered` its trials follow the filter bar."""

    id: str
    figure: go.Figure
    caption: str = ""
    filtered: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell; `value` sorts it (None goes last) and, where it is a number, sets it to the right."""

    text: str
    value: float | str | None = None
    strong: bool = False

    @property
    def numeric(self) -> bool:
        return isinstance(self.value, int | float) or self.text == "-"


@dataclass(frozen=True)
class Line:
    """A line of a table; `data` are attributes that a script reads."""

    cells: Sequence[Cell]
    data: Mapping[str, Any] = field(default_factory=dict)
    reference: bool = False


@dataclass(frozen=True)
class Table:
    """A table; `groups` are headings over several columns, with how many."""

    columns: Sequence[str]
    lines: Sequence[Line]
    groups: Sequence[tuple[str, int]] = ()
    id: str = ""
    caption: str = ""
    sortable: bool = False


@dataclass(frozen=True)
class Cards:
    """Few figures in large: title, value, what more there is to say."""

    cards: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Pictures:
    """Pictures as data URIs, by what they show."""

    pictures: Mapping[str, str]


@dataclass(frozen=True)
class Code:
    """Text to be copied, and what it is."""

    text: str
    what: str


Block = Text | Plot | Table | Cards | Pictures | Code


@dataclass(frozen=True)
class Section:
    """A part of the page, with an entry in the table of contents."""

    id: str
    title: str
    blocks: Sequence[Block]


def word(text: object) -> Cell:
    """A cell of text, sorted by it."""
    return Cell(str(text), str(text))


def amount(value: float | None, digits: int = 1, strong: bool = False) -> Cell:
    """A cell of a number; a dash where nothing was measured."""
    return Cell(number(value, digits), value, strong)


def of_sheet(sheet: Sheet, caption: str) -> Table:
    """A sheet of means and deviations as a table, the best in bold, remarks on all of it below;
    columns without any figure are left out."""
    measured = [
        index
        for index, _ in enumerate(sheet.columns)
        if any(line.cells[index].mean is not None for line in sheet.lines)
    ]
    lines = [
        Line(
            [
                *(word(label) for label in line.labels),
                *(Cell(str(c), c.mean, c.best) for c in (line.cells[i] for i in measured)),
                Cell(str(line.repeats), line.repeats),
                word(line.remark),
            ]
        )
        for line in sheet.lines
    ]
    columns = [*sheet.about, *(sheet.columns[i] for i in measured), "repeats", "remark"]
    if not any(line.remark for line in sheet.lines):
        columns = columns[:-1]
        lines = [Line(line.cells[:-1]) for line in lines]
    return Table(columns, lines, caption=" ".join([caption, *sheet.remarks]))
