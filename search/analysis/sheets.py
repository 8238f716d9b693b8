"""A table of means and deviations, and its Markdown, LaTeX and CSV. Pure functions."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """Mean and standard deviation (over n - 1; None for one value alone); both None where nothing
    was measured. `best` among those that compete."""

    mean: float | None = None
    spread: float | None = None
    digits: int = 1
    best: bool = False

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        spread = "" if self.spread is None else f" ± {self.spread:.{self.digits}f}"
        return f"{self.mean:.{self.digits}f}{spread}"


def cell(values: Sequence[float], digits: int = 1) -> Cell:
    """The cell of these values."""
    if not values:
        return Cell(digits=digits)
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Cell(statistics.fmean(values), spread, digits)


@dataclass(frozen=True)
class Line:
    """One line: what it is about, its cells, over how many repeats, and a remark."""

    labels: Sequence[str]
    cells: Sequence[Cell]
    repeats: int = 0
    remark: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: headings of the labels, headings of the cells, lines; whether cells are means of
    repeats; sentences on what they show."""

    about: Sequence[str]
    columns: Sequence[str]
    lines: Sequence[Line]
    repeated: bool = True
    remarks: Sequence[str] = ()


def as_markdown(sheet: Sheet) -> str:
    """A Markdown table; best values in bold, remarks on lines after the last label, those on all of
    them in paragraphs below."""
    rows = [[*sheet.about, *sheet.columns], ["---"] * (len(sheet.about) + len(sheet.columns))]
    for line in sheet.lines:
        marked = [f"**{cell}**" if cell.best else str(cell) for cell in line.cells]
        rows.append([*_labels(line), *marked])
    shown = [[text.replace("|", r"\|") for text in row] for row in rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in shown) + "\n"
    return table + "".join(f"\n{remark}\n" for remark in sheet.remarks)


def as_latex(sheet: Sheet) -> str:
    """A LaTeX tabular (booktabs); best values in bold, remarks on lines after the last label, those
    on all of them in comments below."""
    body = []
    for line in sheet.lines:
        cells = [str(cell).replace("±", r"$\pm$") for cell in line.cells]
        marked = [
            rf"\textbf{{{text}}}" if cell.best else text
            for text, cell in zip(cells, line.cells, strict=True)
        ]
        body.append(" & ".join([*map(_escaped, _labels(line)), *marked]) + r" \\")
    columns = "l" * len(sheet.about) + "r" * len(sheet.columns)
    head = " & ".join(map(_escaped, [*sheet.about, *sheet.columns]))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {remark}" for remark in sheet.remarks),
            "",
        ]
    )


def as_csv(sheet: Sheet) -> str:
    """Means and, of repeats, standard deviations in columns of their own, unrounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if not sheet.repeated:
        writer.writerow([*sheet.about, *sheet.columns])
        writer.writerows(
            [*line.labels, *(cell.mean for cell in line.cells)] for line in sheet.lines
        )
        return out.getvalue()
    headings = [f"{column} {kind}" for column in sheet.columns for kind in ("mean", "std")]
    writer.writerow([*sheet.about, "repeats", *headings, "remark"])
    for line in sheet.lines:
        values = [value for cell in line.cells for value in (cell.mean, cell.spread)]
        writer.writerow([*line.labels, line.repeats, *values, line.remark])
    return out.getvalue()


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}

FORMS = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}


def _labels(line: Line) -> list[str]:
    remark = f" ({line.remark})" if line.remark else ""
    return [*line.labels[:-1], line.labels[-1] + remark]


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
