"""What machines there are, what they start, and when they go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from search.cluster.access import TOKEN_FILE
from search.cluster.findings import Finding, counted, error, ok, warning
from search.cluster.layout import Cluster, Node
from trainables.errors import unknown

SHORTEST_IDLE_MINUTES = 2

FINDS_RESOURCES = ("aws", "local")
"""Providers on which Ray finds out what a machine has; elsewhere the file must say it."""

NEEDED = {"aws": ("region",), "gcp": ("region", "availability_zone")}


def provider(cluster: Cluster) -> Iterator[Finding]:
    """What Ray asks for only when it is about to launch."""
    for key in NEEDED.get(cluster.provider, ()):
        if not cluster.config["provider"].get(key):
            yield error(f"provider.{key} is missing")
    if not (cluster.config.get("auth") or {}).get("ssh_user"):
        yield error("auth.ssh_user is missing: Ray reaches the machines by SSH")


def head(cluster: Cluster) -> Iterator[Finding]:
    """No trials beside the study's driver."""
    found = cluster.head
    started = next((start.options.get("--num-cpus") for start in found.starts), None)
    cpus = found.resources.get("CPU")
    risk = "trials would run beside Ray's control processes, and one too large ends the study"
    if cpus is None and cluster.provider == "aws":
        # The autoscaler's word counts for more than --num-cpus.
        yield warning(f"{risk}: say resources: {{CPU: 0}}, or Ray fills in what the instance has")
    elif (started if cpus is None else str(cpus)) != "0":
        local = cluster.provider == "local"
        yield warning(
            f"the head has CPUs: {risk}; "
            + ("give its `ray start` --num-cpus=0" if local else "say resources: {CPU: 0}")
        )
    elif found.resources.get("GPU"):
        yield warning("the head has a GPU, which no trial can use without a CPU")
    else:
        yield ok("the head runs no trials")


def workers(cluster: Cluster) -> Iterator[Finding]:
    """Some, with what a trial needs."""
    if "min_workers" in cluster.given and cluster.provider != "local":
        yield warning("min_workers is ignored by Ray out here; each node type has its own")
    if not cluster.workers:
        local = cluster.provider == "local"
        yield error(
            f"{'provider.worker_ips is empty' if local else 'max_workers is 0'}: no machine could "
            "run trials"
        )
    for node in cluster.workers:
        low, high = node.settings.get("min_workers", 0), node.settings["max_workers"]
        if low > high:
            yield error(f"{node.name}: min_workers is {low}, but max_workers is {high}")
        if high > cluster.most:
            yield warning(
                f"{node.name}: max_workers is {high}, but {cluster.most} for the whole cluster"
            )
        cpus, gpus = node.resources.get("CPU"), node.resources.get("GPU")
        if cpus == 0:
            yield error(f"{node.name} has no CPU, and every trial needs one")
        elif cpus is None and cluster.provider not in FINDS_RESOURCES:
            yield error(
                f"{node.name}: say resources: {{CPU: ...}}; Ray finds out itself on AWS alone, and "
                "starts no machine for a trial if it knows of none that has what the trial wants"
            )
        elif low <= high:
            yield ok(f"{node.name}: {_span(low, min(high, cluster.most))}{_of(cpus, gpus)}")


def _span(low: int, high: int) -> str:
    return counted(high, "machine") if low == high else f"{low} to {counted(high, 'machine')}"


def _of(cpus: int | None, gpus: int | None) -> str:
    parts = [counted(number, kind) for number, kind in ((cpus, "CPU"), (gpus, "GPU")) if number]
    return f" of {' and '.join(parts)}" if parts else ""


def on_premises(cluster: Cluster) -> Iterator[Finding]:
    """Machines of one's own that are started at all."""
    if cluster.provider != "local":
        return
    told_here = os.environ.get("RAY_UP_enable_autoscaler_v2") == "0"  # noqa: SIM112
    if not told_here and any(
        each.get("RAY_enable_autoscaler_v2") != "0" for each in cluster.head.environments
    ):
        yield error(
            "version 2 of Ray's autoscaler starts no workers for provider local: write "
            "RAY_enable_autoscaler_v2=0 before the head's `ray start`"
        )
    known = len(cluster.config["provider"].get("worker_ips") or [])
    for node in cluster.workers:
        low = node.settings.get("min_workers", 0)
        if low < min(known, cluster.most):
            yield (warning if low else error)(
                f"min_workers is {low} of {counted(known, 'machine')}: Ray starts no others, since "
                "it does not know before what a machine of one's own has"
            )


def accelerators(cluster: Cluster) -> Iterator[Finding]:
    """GPUs where they are wanted, known to Ray, and with a driver."""
    if cluster.provider == "local":
        return
    for node in cluster.workers:
        declared = node.resources.get("GPU")
        instance = str(node.machine.get("InstanceType", ""))
        physical = bool(re.match(r"[gp]\d", instance)) or "guestAccelerators" in node.machine
        gpu_image = re.search(r"-(?:gpu|cu\d+)(?=-|$)", node.tag) is not None
        known = declared or (declared is None and cluster.provider == "aws" and physical)
        if (gpu_image or physical) and not known:
            yield error(
                f"{node.name} has {'GPUs' if physical else 'an image for GPUs'}, but says none in "
                "its resources, so that no trial gets one: {GPU: 1}"
            )
        elif known and instance and not physical:
            yield error(f"{node.name} says GPU: {declared}, but an instance {instance} has none")
        elif known and node.ray_image and not gpu_image:
            yield error(f"{node.name} has GPUs, but image {node.image} is for CPUs; take -gpu")
        if known and cluster.provider == "aws":
            yield from _amazon_image(node)


def _amazon_image(node: Node) -> Iterator[Finding]:
    image = str(node.machine.get("ImageId", ""))
    how = "docs/cluster.md says how to find one"
    if re.fullmatch(r"ami-0+", image):
        yield warning(f"{node.name}: ImageId {image} is a placeholder; {how}")
    elif image.lower() in ("", "latest_dlami"):
        yield warning(
            f"{node.name} has no ImageId: Ray then takes an Ubuntu 18.04, whose NVIDIA driver is "
            f"too old for today's PyTorch; {how}"
        )


def idle(cluster: Cluster) -> Iterator[Finding]:
    """Machines that wait go, but not between two trials."""
    minutes = cluster.given.get("idle_timeout_minutes")
    times = {"idle_timeout_minutes": minutes}
    for name, settings in (cluster.given.get("available_node_types") or {}).items():
        seconds = settings.get("idle_timeout_s")
        times[f"{name}: idle_timeout_s"] = None if seconds is None else seconds / 60
    for key, value in times.items():
        if value == 0:
            yield error(f"{key} is 0: machines would go between two trials")
        elif value is not None and value < SHORTEST_IDLE_MINUTES:
            yield warning(
                f"{key} is {value:.3g} minutes: machines would go in every pause, and a new one "
                f"takes longer; give {SHORTEST_IDLE_MINUTES} minutes or more"
            )
    if minutes is None and cluster.provider != "local":
        yield warning("idle_timeout_minutes is not given: machines go after Ray's 5 minutes")
    elif minutes is not None and minutes >= SHORTEST_IDLE_MINUTES:
        yield ok(f"machines go after {counted(minutes, 'idle minute')}")


def start_lines(cluster: Cluster) -> Iterator[Finding]:
    """One head that starts the others, and workers that find it."""
    known = _start_options()
    for node in (cluster.head, *cluster.workers[:1]):
        key = f"{node.role}_start_ray_commands"
        given = dict.fromkeys(option for start in node.starts for option in start.options)
        for option in given:
            if option not in known:
                yield error(f"{key}: {unknown('option of ray start', option, known)}")
        if not node.starts:
            yield error(f"{key} has no `ray start`")
        if any("--block" in start.options for start in node.starts):
            yield error(f"{key}: with --block, `ray up` waits for ever")
    for start in cluster.head.starts:
        if "--head" not in start.options:
            yield error("head_start_ray_commands: `ray start` needs --head")
        if "--autoscaling-config" not in start.options:
            yield error(
                "head_start_ray_commands: without --autoscaling-config=~/ray_bootstrap_config.yaml "
                "no worker is ever started"
            )
    heads = [start.options.get("--port", "6379") for start in cluster.head.starts]
    port = heads[0] if heads else "6379"
    for start in cluster.workers[0].starts if cluster.workers else ():
        address = start.options.get("--address", "")
        if "--head" in start.options:
            yield error("worker_start_ray_commands: --head would make each worker its own cluster")
        elif not re.match(r"\$(RAY_HEAD_IP|\{RAY_HEAD_IP\}):", address):
            yield error(
                f"worker_start_ray_commands: `ray start` needs --address=$RAY_HEAD_IP:{port}"
            )
        elif not address.endswith(f":{port}"):
            yield error(f"workers look for the head at {address}, but it listens on port {port}")


def _start_options() -> list[str]:
    from ray.scripts.scripts import start

    return sorted(option for each in start.params for option in each.opts if option[:2] == "--")


def local_files(cluster: Cluster) -> Iterator[Finding]:
    """What is copied from here is here, and is not more than is needed."""
    key = (cluster.config.get("auth") or {}).get("ssh_private_key")
    for here in dict.fromkeys([*cluster.mounts.values(), *([key] if key else [])]):
        path = Path(os.path.expanduser(here))
        if not path.exists():
            hint = ""
            if here.endswith(TOKEN_FILE):
                hint = "; `ray get-auth-token --generate` makes it"
            elif not here.startswith(("/", "~")):
                hint = "; relative paths begin where `ray up` is run"
            yield warning(f"{here} is to be copied from here, but is not there{hint}")
        for heavy in (".venv", ".git"):
            if (path / heavy).exists():
                yield warning(
                    f"file_mounts: {here} contains {heavy}, and Ray reads it all before each `ray "
                    "up`, whatever rsync_exclude says; mount only what is installed"
                )
                break
