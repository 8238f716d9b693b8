"""What the generators make."""

from __future__ import annotations

from search.report.blocks import Pictures, Section
from search.report.gathered import Gathered


def section(study: Gathered) -> Section | None:
    """Contact sheets of their images; none where there are none."""
    if not study.previews:
        return None
    return Section("previews", "Images of the generators", [Pictures(study.previews)])
