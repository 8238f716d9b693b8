"""Whether the nodes can get at where results and artifacts are to lie."""

from __future__ import annotations

import re
from collections.abc import Iterator

from search.cluster import shell
from search.cluster.findings import Finding, error, ok, warning
from search.cluster.layout import Cluster, Node
from trainables.artifacts.remote import SCHEMES, hidden, is_uri
from trainables.errors import unknown

_BUCKETS = {
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
}
_VARIABLES = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS",),
}
_FILES = {"s3": (".aws", ".aws/credentials"), "gs": (".config/gcloud",)}
_OWNERS = {"s3": "aws", "gs": "gcp"}
_ROLES = {"s3": "IamInstanceProfile", "gs": "serviceAccounts"}
"""How a machine of the bucket's own cloud is given the right to use it (node_config)."""


def results(cluster: Cluster, place: str | None) -> Iterator[Finding]:
    """Where trials are written."""
    if place is None:
        yield warning(
            "without --results, results lie on the head's own disk and go with it: give "
            "s3://bucket/results, or a folder that is shared"
        )
    else:
        yield from _place(cluster, "results", place)


def artifacts(cluster: Cluster, place: str | None) -> Iterator[Finding]:
    """Where models and generators lie, which all nodes use."""
    if place is None:
        yield warning(
            "without --artifacts, models and generators lie on the head's own disk and go with it: "
            "give s3://bucket/artifacts, or a folder that is shared"
        )
    else:
        yield from _place(cluster, "artifacts", place)


def _place(cluster: Cluster, what: str, place: str) -> Iterator[Finding]:
    scheme, _, rest = place.partition("://")
    if not is_uri(place):
        broken = re.match(rf"({'|'.join(SCHEMES)}):", place)
        if broken:
            yield error(
                f"{what}: {broken[0]} wants two slashes after it, {broken[0]}//BUCKET/FOLDER"
            )
        else:
            yield from _path(cluster, what, place)
    elif scheme not in SCHEMES:
        yield error(f"{what}: {unknown('scheme', scheme, SCHEMES)}")
    elif scheme == "file":
        yield from _path(cluster, what, "/" + rest.lstrip("/"))
    else:
        yield from _bucket(cluster, what, place)


def _bucket(cluster: Cluster, what: str, place: str) -> Iterator[Finding]:
    scheme, _, rest = place.partition("://")
    kind = "gs" if scheme == "gcs" else scheme
    location, _, query = rest.partition("?")
    keys, _, bucket = location.partition("/")[0].rpartition("@")
    shown = hidden(place)
    if not bucket or (kind in _BUCKETS and not _BUCKETS[kind].fullmatch(bucket)):
        yield error(f"{what}: {shown} names no bucket as there can be; {scheme}://BUCKET/FOLDER")
        return
    if keys or "key" in query.lower():
        yield warning(
            f"{what}: keys stand in the URI {shown}, where every user of a node sees them (`ps`); "
            "give the nodes a role, or a mounted file"
        )
        return
    lacking = [node.name for node in cluster.nodes if not _may_reach(cluster, node, kind)]
    if not lacking:
        yield ok(f"{what}: {shown}")
    elif _OWNERS[kind] == cluster.provider:
        yield warning(
            f"{what}: nothing gives {', '.join(lacking)} the right to use {shown}: add "
            f"{_ROLES[kind]} to node_config"
        )
    else:
        yield warning(
            f"{what}: nothing gives {', '.join(lacking)} the right to use {shown}: mount "
            f"~/{_FILES[kind][-1]} (file_mounts)"
        )


def _may_reach(cluster: Cluster, node: Node, kind: str) -> bool:
    """Whether anything gives a node credentials for a kind of bucket, as far as is known here."""
    if kind not in _OWNERS:
        return True
    # In the bucket's own cloud, Ray gives the head a role that may use buckets.
    at_home = _OWNERS[kind] == cluster.provider
    if at_home and (node is cluster.head or _ROLES[kind] in node.machine):
        return True
    environment = {name for each in node.environments for name in each}
    endings = tuple(f"/{name}" for name in _FILES[kind])
    return bool(environment & {*_VARIABLES[kind]}) or any(
        there.rstrip("/").endswith(endings) for there in cluster.mounts
    )


def _path(cluster: Cluster, what: str, place: str) -> Iterator[Finding]:
    instead = f"give s3://bucket/{what}, or a path that is one mount (NFS) on all machines"
    if not place.startswith("/"):
        yield warning(f"{what}: {place} is on the head's own disk and goes with it; {instead}")
        return
    strangers = [node for node in cluster.nodes if not _shared(node, place)]
    if not strangers:
        yield ok(f"{what}: {place}, taken to be one mount on all machines")
        return
    names = ", ".join(node.name for node in strangers)
    how = ", bound into the container (run_options: -v)" if strangers[0].container else ""
    yield warning(
        f"{what}: nothing mounts {place} on {names}, and unless it is shared it goes with the "
        f"head; {instead}{how}"
    )


def _shared(node: Node, place: str) -> bool:
    folders = [*shell.mounted(node.inside)]
    for option in ("-v", "--volume"):
        folders += [text.split(":")[1] for text in _bound(node, option) if ":" in text]
    for text in _bound(node, "--mount"):
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        folders += [fields[key] for key in ("target", "dst", "destination") if key in fields]
    return any(f"{place}/".startswith(f"{folder.rstrip('/')}/") for folder in folders)


def _bound(node: Node, option: str) -> Iterator[str]:
    return shell.values(node.docker_options, option)
