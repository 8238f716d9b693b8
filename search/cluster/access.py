"""Who gets into the cluster: whoever does runs code on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from search.cluster.findings import Finding, error, ok
from search.cluster.layout import Cluster

TOKEN_FILE = ".ray/auth_token"
PRIVATE_PORTS = (6379, 8265, 10001)
"""Ray's own, of its dashboard and jobs, and of its clients."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def authentication(cluster: Cluster) -> Iterator[Finding]:
    """A token on every node, and every `ray start` told to want it."""
    unguarded = [
        node.name
        for node in cluster.nodes
        if any(each.get("RAY_AUTH_MODE") != "token" for each in node.environments)
    ]
    if unguarded:
        yield error(
            f"Ray starts without RAY_AUTH_MODE=token on {', '.join(unguarded)}: write it before "
            "`ray start` for the head and for the workers; with one alone, workers are turned away"
        )
    lacking = _token(cluster)
    if lacking:
        yield error(lacking)
    if not unguarded and not lacking:
        yield ok("token authentication on all nodes")


def _token(cluster: Cluster) -> str | None:
    """Why the token is not where Ray looks for it."""
    environments = [each for node in cluster.nodes for each in node.environments]
    named = {each["RAY_AUTH_TOKEN_PATH"] for each in environments if "RAY_AUTH_TOKEN_PATH" in each}
    if named:
        missing = named - cluster.mounts.keys()
        return f"nothing in file_mounts puts a token at {min(missing)}" if missing else None
    places = [there for there in cluster.mounts if there.endswith(("/.ray", "/.ray/", TOKEN_FILE))]
    if not places:
        return (
            f"no token gets to the nodes: file_mounts needs ~/{TOKEN_FILE}, which `ray "
            "get-auth-token --generate` makes"
        )
    user = (cluster.config.get("auth") or {}).get("ssh_user")
    home = "/root" if user == "root" else f"/home/{user}"
    if cluster.head.container:
        home = "/home/ray" if cluster.head.ray_image else "/"
    if any(there.startswith(("~/", home.rstrip("/") + "/")) for there in places):
        return None
    return f"the token lands in {places[0]}, but Ray looks for it in {home}/{TOKEN_FILE}"


def dashboard(cluster: Cluster) -> Iterator[Finding]:
    """On the head alone; a tunnel leads to it."""
    for start in cluster.head.starts:
        host = start.options.get("--dashboard-host", "127.0.0.1")
        if host not in LOOPBACK:
            default = "head_start_ray_commands" not in cluster.given
            yield error(
                f"the dashboard answers on {host}"
                + (" (Ray's own head_start_ray_commands)" if default else "")
                + ", where others reach it: give --dashboard-host=127.0.0.1 and use `ray dashboard`"
            )


def ports(cluster: Cluster) -> Iterator[Finding]:
    """None of Ray's open to the world, by what the file says of AWS's security group."""
    group = cluster.config["provider"].get("security_group") or {}
    for rule in group.get("IpPermissions") or []:
        found = _opened(rule) if isinstance(rule, dict) else []
        if found:
            yield error(
                f"provider.security_group opens {', '.join(map(str, found))} to the world; `ray "
                "dashboard` makes a tunnel and needs no open port"
            )


def _opened(rule: dict[str, Any]) -> list[int]:
    """Which of Ray's ports a rule opens to everybody."""
    ranges = [*(rule.get("IpRanges") or []), *(rule.get("Ipv6Ranges") or [])]
    sources = {str(value) for each in ranges if isinstance(each, dict) for value in each.values()}
    low, high = rule.get("FromPort", -1), rule.get("ToPort", -1)
    if not sources & {"0.0.0.0/0", "::/0"}:
        return []
    if not isinstance(low, int) or not isinstance(high, int) or low < 0:
        return [*PRIVATE_PORTS]
    return [port for port in PRIVATE_PORTS if low <= port <= high]
