"""Ray, Python and forgetune, which must be the same on all nodes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version

from search.cluster import shell
from search.cluster.findings import Finding, error, ok, warning
from search.cluster.layout import Cluster, Node

_WHEEL = re.compile(r"(?:^|/)ray-(?P<ray>[^-/]+)-cp(?P<major>\d)(?P<minor>\d+)-")
_REQUIREMENT = re.compile(r"ray(?:\[[^\]]*\])?\s*(?P<specifier>(?:[=<>!~@].*)?)")
_PIN = re.compile(r"={2,3}\s*(?P<ray>[^*\s]+)")
_TAG_RAY = re.compile(r"\d+\.\d+\.\d+")
_TAG_PYTHON = re.compile(r"(?:^|-)py(?P<major>\d)(?P<minor>\d+)(?=-|$)")


def versions_here() -> tuple[str, str]:
    """Of Ray and Python, where the cluster is launched from."""
    return version("ray"), f"{sys.version_info.major}.{sys.version_info.minor}"


def ray_version(cluster: Cluster) -> Iterator[Finding]:
    """Pinned on every node, and the same as here."""
    findings = [each for node in cluster.nodes for each in _ray_of(node, cluster)]
    yield from findings or [ok(f"Ray {cluster.ray} on all nodes, as here")]


def _ray_of(node: Node, cluster: Cluster) -> Iterator[Finding]:
    wanted = cluster.ray
    wrong = f"not the {wanted} that is installed here; all nodes must have the same"
    pinned = node.ray_image
    if node.ray_image:
        tag = _TAG_RAY.match(node.tag)
        if tag is None:
            yield error(f"image {node.image} names no version of Ray; {wanted} is installed here")
        elif tag[0] != wanted:
            yield error(f"image {node.image} has Ray {tag[0]}, {wrong}")
    for word in shell.installed(node.inside):
        requirement = _REQUIREMENT.fullmatch(word)
        found = _WHEEL.search(word) or (requirement and _PIN.fullmatch(requirement["specifier"]))
        if found:
            pinned = True
            if found["ray"] != wanted:
                default = "" if "setup_commands" in cluster.given else " (Ray's setup_commands)"
                yield error(f"`pip install` of Ray {found['ray']}{default}, {wrong}")
        elif requirement:
            pinned = True
            shown = word.partition("@")[0].strip()
            yield error(f"`pip install {shown}` pins no version of Ray; ray=={wanted} does")
    if not pinned and any("forgetune" in word for word in shell.installed(node.inside)):
        yield error(f"`pip install` takes any Ray on {node.name}; put ray=={wanted} into the line")
    elif not pinned:
        yield warning(f"which Ray is {node.ground} cannot be told; it must be {wanted}")


def python_version(cluster: Cluster) -> Iterator[Finding]:
    """Named on every node, and the same as here."""
    findings = [each for node in cluster.nodes for each in _python_of(node, cluster.python)]
    yield from findings or [ok(f"Python {cluster.python} on all nodes, as here")]


def _python_of(node: Node, wanted: str) -> Iterator[Finding]:
    tag = _TAG_PYTHON.search(node.tag)
    found = {f"image {node.image}": f"{tag['major']}.{tag['minor']}"} if tag else {}
    for word in shell.installed(node.inside):
        if (wheel := _WHEEL.search(word)) is not None:
            found["a wheel of Ray"] = f"{wheel['major']}.{wheel['minor']}"
    for text in node.inside:
        for minor in re.findall(r"\bpython[ =]{0,2}(3\.\d+)\b", text):
            found[f"python{minor}"] = minor
    for origin, minor in found.items():
        if minor != wanted:
            yield error(
                f"{origin} is Python {minor}, not the {wanted} that runs here; a study's driver "
                "and workers must have the same"
            )
    if not found and node.ray_image:
        tag_part = f"-py{wanted.replace('.', '')}"
        yield error(f"image {node.image} names no Python; take a tag with {tag_part}")
    elif not found:
        yield warning(f"which Python is {node.ground} cannot be told; it must be {wanted}")


def forgetune(cluster: Cluster) -> Iterator[Finding]:
    """Installed on every node, from where it is."""
    missing = []
    for node in cluster.nodes:
        found = [word for word in shell.installed(node.inside) if "forgetune" in word]
        if not found:
            missing.append(node)
        for path in found:
            if path.startswith(("/", "~", ".")) and not _arrives(path, cluster):
                yield error(f"`pip install {path}`: nothing in file_mounts puts it there")
    bare = ", ".join(node.name for node in missing if node.ray_image)
    if bare:
        yield error(f"nothing installs forgetune on {bare}: pip install it in setup_commands")
    for ground in dict.fromkeys(node.ground for node in missing if not node.ray_image):
        yield warning(f"no command installs forgetune; it must be {ground} already")
    if not missing:
        yield ok("forgetune is installed on all nodes")


def _arrives(path: str, cluster: Cluster) -> bool:
    """Whether anything is mounted at a path, in it or around it."""
    wanted = path.partition("[")[0].rstrip("/") + "/"
    mounts = [f"{there.rstrip('/')}/" for there in cluster.mounts]
    return any(there.startswith(wanted) or wanted.startswith(there) for there in mounts)
