"""What is seen to be wrong with a specification without a look at data and weights."""

from __future__ import annotations

import re

from search.definition import pruners, samplers
from search.definition.kinds import AUTO
from search.definition.spec import StudySpec, probed
from trainables import methods
from trainables.errors import InvalidRequest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check(spec: StudySpec) -> None:
    """Raises InvalidRequest for what is seen to be wrong without a look at data and weights."""
    methods.check_known(spec.method)
    samplers.check_known(spec.sampler)
    pruners.check_known(spec.pruner)
    if spec.pruner != "none" and spec.objective != "gap":
        raise InvalidRequest(
            f"the pruner {spec.pruner} needs one objective to judge by: give --objective gap, or "
            "no pruner"
        )
    if spec.objective == "synthetic" and probed(spec):
        raise InvalidRequest(
            "gap_terms with the probe (--gap-terms) are of real images; the objective synthetic "
            "has a gap of its own"
        )
    if spec.resources.fuse not in (1, AUTO):
        _check_fusable(spec)
    if spec.name is not None:
        check_name(spec.name)


def check_name(name: str) -> None:
    """Raises InvalidRequest for a study name that is no plain folder name."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            f"study name {name[:60]!r} cannot be used; possible are up to 100 letters, digits and "
            "._- (starting with a letter or digit)"
        )


def _check_fusable(spec: StudySpec) -> None:
    if not methods.is_plan(spec.method):
        possible = ", ".join(name for name in methods.METHODS if methods.is_plan(name))
        raise InvalidRequest(
            f"trials of {spec.method} cannot be fused (resources.fuse); possible: {possible}"
        )
    if spec.pruner != "none" or spec.curves:
        raise InvalidRequest(
            "trials that are fused (resources.fuse) go through their phases together: there are no "
            "curves and there is no pruner"
        )
