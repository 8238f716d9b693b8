"""What a model that is saved keeps and has forgotten, beside the base model."""

from __future__ import annotations

from collections.abc import Mapping

MUCH = 20.0
"""Points of accuracy beyond which a saved model comes with a warning."""

Figures = Mapping[str, float | None]


def told(metrics: Figures, references: Mapping[str, Figures]) -> tuple[str, str | None]:
    """The figures of a model in one line, and a warning in another if it lost most of what it
    should keep, or still knows what it should not.

    `metrics` are the model's, `references` those of the models "base" and "retrained", empty where
    there is no data. Then the figures are those on synthetic images, on which the base model is
    always right: it is what says what they show.
    """
    synthetic = metrics.get("retain_accuracy") is None
    prefix = "synthetic_" if synthetic else ""
    forget, retain = (metrics.get(f"{prefix}{kind}_accuracy") for kind in ("forget", "retain"))
    if forget is None or retain is None:
        return "what it keeps was not measured", None
    base = {} if synthetic else references.get("base", {})
    before = base.get("forget_accuracy"), base.get("retain_accuracy")
    before_forget, before_retain = (100.0 if value is None else value for value in before)
    images = "synthetic" if synthetic else "validation"
    # Where groups of a class are forgotten, the retrained model knows some of them too.
    retrained = {} if synthetic else references.get("retrained", {})
    known, kept = retrained.get("forget_accuracy"), retrained.get("retain_accuracy")
    beside = f"base model: {before_forget:.1f} and {before_retain:.1f}"
    if known is not None and kept is not None:
        beside += f", retrained: {known:.1f} and {kept:.1f}"
    line = (
        f"it is right for {forget:.1f} % of what it should forget and {retain:.1f} % of the rest "
        f"({beside}; {images} images)"
    )
    faults = []
    if retain < before_retain - MUCH:
        faults.append(f"has lost {before_retain - retain:.1f} points of what it should keep")
    if forget > (known or 0.0) + MUCH:
        faults.append(f"still knows {forget:.1f} % of what it should forget")
    return line, f"warning: this model {' and '.join(faults)}" if faults else None


def of_row(row: Mapping[str, object]) -> Figures:
    """The metrics of a row of results."""
    return {
        name.removeprefix("m_"): value
        for name, value in row.items()
        if name.startswith("m_") and isinstance(value, float)
    }
