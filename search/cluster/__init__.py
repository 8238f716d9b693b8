"""Checks of a file for Ray's cluster launcher, before machines cost money.

Everything is read from the file and from what is installed here: no cloud is asked, no credentials
are needed and nothing is connected to. What the file leaves out has Ray's defaults, and those are
checked too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from search.cluster import access, launcher, machines, places, software
from search.cluster.findings import LEVELS, Finding, error
from search.cluster.layout import Cluster
from trainables.errors import InvalidRequest

__all__ = ["Finding", "check", "render"]

RULES = (
    *(software.ray_version, software.python_version, software.forgetune),
    *(access.authentication, access.ports, access.dashboard),
    *(machines.provider, machines.head, machines.workers, machines.accelerators),
    machines.on_premises,
    *(machines.idle, machines.start_lines, machines.local_files),
)


def check(path: Path, results: str | None = None, artifacts: str | None = None) -> list[Finding]:
    """What is wrong with a launcher file, what may be, and what is right.

    `results` and `artifacts` are the places that a study is going to be given, paths or URIs.
    Raises InvalidRequest, in one line, for a file that cannot be read, is no YAML or is no launcher
    file at all.
    """
    text, findings = launcher.hide_secrets(launcher.read(path))
    config = launcher.parse(path, text)
    refused = [*launcher.refusals(config)]
    if refused:
        return [*findings, *refused]
    try:
        cluster = Cluster(config, launcher.filled_in(config), *software.versions_here())
    except InvalidRequest as refusal:
        return [*findings, error(str(refusal))]
    findings += [finding for rule in RULES for finding in rule(cluster)]
    findings += places.results(cluster, results)
    findings += places.artifacts(cluster, artifacts)
    return [*dict.fromkeys(findings)]


def render(findings: Iterable[Finding]) -> list[str]:
    """One line for each finding, errors first."""
    ordered = sorted(findings, key=lambda finding: LEVELS.index(finding.level))
    return [f"{finding.level + ':':8} {finding.text}" for finding in ordered]
