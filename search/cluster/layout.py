"""The cluster that a launcher file describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from search.cluster import shell


@dataclass(frozen=True)
class Node:
    """A machine of the cluster: the head, or one of a type of workers."""

    name: str
    settings: Mapping[str, Any]
    docker: Mapping[str, Any]
    role: str
    outside: list[str]
    """Commands that run before the container, if there is one."""
    setup: list[str]
    start: list[str]

    @property
    def machine(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.settings.get("node_config") or {}
        return found

    @property
    def resources(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.settings.get("resources") or {}
        return found

    @property
    def container(self) -> bool:
        return bool(self.docker.get("container_name"))

    @property
    def image(self) -> str | None:
        image: str | None = self.docker.get(f"{self.role}_image", self.docker.get("image"))
        return image if self.container else None

    @property
    def ray_image(self) -> bool:
        """Whether the image is one of Ray's own, whose tags can be relied upon."""
        return re.match(r"(docker\.io/)?rayproject/", self.image or "") is not None

    @property
    def tag(self) -> str:
        """The image's tag."""
        return (self.image or "").partition("@")[0].rpartition("/")[2].partition(":")[2]

    @property
    def ground(self) -> str:
        """Where Ray is, in words."""
        return f"in image {self.image}" if self.image else f"on {self.name}"

    @cached_property
    def docker_options(self) -> list[str]:
        """What is given to `docker run`, in words."""
        given = [
            *self.docker.get("run_options", []),
            *self.docker.get(f"{self.role}_run_options", []),
        ]
        return shell.words(" ".join(map(str, given))) if self.container else []

    @cached_property
    def inside(self) -> list[str]:
        """Commands that run where Ray does."""
        return self.setup if self.container else [*self.outside, *self.setup]

    @cached_property
    def starts(self) -> list[shell.Start]:
        return [start for line in self.start for start in shell.starts(line)]

    @cached_property
    def environment(self) -> dict[str, str]:
        """What `docker run` and the shell's profile put into the environment of all commands."""
        found = {}
        for option in ("-e", "--env"):
            for text in shell.values(self.docker_options, option):
                name, _, value = text.partition("=")
                found[name] = value
        for line in self.inside:
            if ">>" in line and re.search(r"profile|bashrc|/etc/environment", line):
                found |= dict(re.findall(r"\b([A-Z][A-Z0-9_]*)=([^\s\"']*)", line))
        return found

    @property
    def environments(self) -> list[dict[str, str]]:
        """What each `ray start` runs in."""
        return [{**self.environment, **start.environment} for start in self.starts]


@dataclass(frozen=True)
class Cluster:
    """A launcher file as it was given, the same with Ray's defaults, and the versions of Ray and
    Python on the machine that it is launched from."""

    given: Mapping[str, Any]
    config: Mapping[str, Any]
    ray: str
    python: str

    @property
    def provider(self) -> str:
        return str(self.config["provider"]["type"])

    @property
    def most(self) -> int:
        """How many workers there can be."""
        return int(self.config["max_workers"])

    @property
    def mounts(self) -> dict[str, str]:
        """Paths there, with the paths here that are copied to them."""
        found = self.config.get("file_mounts") or {}
        return {str(there): str(here) for there, here in found.items()}

    @cached_property
    def head(self) -> Node:
        settings = self.config["available_node_types"][self.config["head_node_type"]]
        return self._node("the head", settings, "head")

    @cached_property
    def workers(self) -> list[Node]:
        """The types of which there can be workers."""
        return [
            self._node("the workers" if self.provider == "local" else name, settings, "worker")
            for name, settings in self.config["available_node_types"].items()
            if min(settings.get("max_workers", 0), self.most) > 0
        ]

    @property
    def nodes(self) -> list[Node]:
        return [self.head, *self.workers]

    def _node(self, name: str, settings: Mapping[str, Any], role: str) -> Node:
        # Only workers can differ from type to type in what is done on them.
        own = settings if role == "worker" else {}
        config = self.config
        return Node(
            name=str(name),
            settings=settings,
            docker={**(config.get("docker") or {}), **own.get("docker", {})},
            role=role,
            outside=own.get("initialization_commands", config.get("initialization_commands", [])),
            setup=own.get(f"{role}_setup_commands", config.get(f"{role}_setup_commands", [])),
            start=config.get(f"{role}_start_ray_commands", []),
        )
