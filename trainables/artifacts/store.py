"""The content-addressed store of expensive things that trials share.

An artifact is two files: weights as safetensors and a description as JSON, which carries the
weights' checksum and is written last, so an artifact exists whole or not at all. Its name is a
hash of everything that determines its content. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from trainables.artifacts.files import write_whole
from trainables.errors import InvalidRequest

Built = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""What a builder returns: tensors, and facts that JSON can hold."""


class _BuilderFailed(Exception):
    """Carries an OSError of a builder past the handling of the store's own."""

    def __init__(self, error: OSError) -> None:
        self.error = error


class _Damaged(Exception):
    """The files of an artifact do not agree with each other."""


@dataclass(frozen=True)
class Artifact:
    """Tensors on the CPU, facts, and what building cost in seconds.

    `origin` is "cached", "built" or "rebuilt"; `note` names what was set aside as damaged.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    seconds: float
    origin: str
    note: str | None = None


def key_of(description: Mapping[str, Any]) -> str:
    """Twenty hexadecimal digits that follow from `description` (JSON values) alone."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Twenty hexadecimal digits that follow from names, shapes, types and values of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:20]


class Depot(Protocol):
    """A place that machines share: files by name, which appear whole."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, content: bytes) -> None: ...

    def __hash__(self) -> int: ...


class Store:
    """Artifacts in one folder, shared by any number of processes, and in the `depot` that machines
    share, if there is one: what is there is fetched once for each machine, and what is built is
    sent there.

    Raises InvalidRequest where the folder or the depot cannot be read or written.
    """

    def __init__(self, folder: Path, depot: Depot | None = None) -> None:
        self.folder = folder
        self._depot = depot

    def has(self, kind: str, description: Mapping[str, Any]) -> bool:
        """Whether the artifact is there and matches its checksum."""
        paths = self._paths(kind, description)
        try:
            _read(*paths)
        except (OSError, _Damaged):
            return self._depot is not None and self._depot.read(paths[1].name) is not None
        return True

    def obtain(
        self, kind: str, description: Mapping[str, Any], build: Callable[[], Built]
    ) -> Artifact:
        """The artifact, built if it is missing or damaged.

        However many processes ask at once, one builds and the others wait for it. A damaged one
        is set aside, and named in `note`.
        """
        try:
            return self._obtain(kind, description, build)
        except _BuilderFailed as failure:
            raise failure.error from None
        except OSError as error:
            raise InvalidRequest(
                f"the artifacts folder {self.folder} cannot be used ({error.strerror or error}); "
                "choose another with --artifacts"
            ) from error

    def _obtain(
        self, kind: str, description: Mapping[str, Any], build: Callable[[], Built]
    ) -> Artifact:
        weights, facts = self._paths(kind, description)
        try:
            return _read(weights, facts)
        except (FileNotFoundError, _Damaged):
            pass
        lock = self.folder / "locks" / f"{facts.stem}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        # The lock is the kernel's: it is gone with its holder, even one that was killed.
        with FileLock(lock):
            note = None
            try:
                return _read(weights, facts)
            except FileNotFoundError:
                pass
            except _Damaged as damage:
                note = f"{facts.name}: {damage}; set aside as {self._set_aside(weights, facts)}"
            if note is None and (fetched := self._fetch(weights, facts)) is not None:
                return fetched
            started = time.perf_counter()
            try:
                tensors, found = build()
            except OSError as error:
                raise _BuilderFailed(error) from error
            seconds = time.perf_counter() - started
            _write(weights, facts, kind, description, tensors, found, seconds)
            self._send(weights, facts)
            origin = "rebuilt" if note else "built"
            return replace(_read(weights, facts), origin=origin, note=note)

    def _fetch(self, weights: Path, facts: Path) -> Artifact | None:
        """The artifact from the depot; None if it is not there, whole."""
        if self._depot is None:
            return None
        described = self._depot.read(facts.name)
        content = None if described is None else self._depot.read(weights.name)
        if described is None or content is None:
            return None
        write_whole(weights, content)
        write_whole(facts, described)
        try:
            return _read(weights, facts)
        except _Damaged:
            return None  # built anew, and sent in its place

    def _send(self, weights: Path, facts: Path) -> None:
        if self._depot is not None:
            # The description last: where it is, the weights are.
            self._depot.write(weights.name, weights.read_bytes())
            self._depot.write(facts.name, facts.read_bytes())

    def _paths(self, kind: str, description: Mapping[str, Any]) -> tuple[Path, Path]:
        name = f"{kind}-{key_of(description)}"
        return self.folder / f"{name}.safetensors", self.folder / f"{name}.json"

    def _set_aside(self, *files: Path) -> Path:
        folder = self.folder / "damaged"
        folder.mkdir(exist_ok=True)
        stamp = uuid.uuid4().hex[:8]
        for file in files:
            if file.exists():
                file.rename(folder / f"{stamp}-{file.name}")
        return folder / f"{stamp}-{files[0].stem}.*"


def _read(weights: Path, facts: Path) -> Artifact:
    try:
        described = json.loads(facts.read_text())
        checksum = described.pop("sha256")
        found, seconds = described["facts"], described["build_seconds"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _Damaged("the description is not readable") from None
    try:
        content = weights.read_bytes()
    except FileNotFoundError:
        raise _Damaged("the weights are missing") from None
    if _checksum(content, described) != checksum:
        raise _Damaged("the content does not match its checksum")
    return Artifact(load_tensors(content), found, seconds, "cached")


def _write(
    weights: Path,
    facts: Path,
    kind: str,
    description: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    found: Mapping[str, Any],
    seconds: float,
) -> None:
    content = save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()})
    described: dict[str, Any] = {
        "kind": kind,
        "description": dict(description),
        "facts": dict(found),
        "build_seconds": seconds,
    }
    described = json.loads(json.dumps(described))  # as it will be read: keys become strings
    described["sha256"] = _checksum(content, described)
    write_whole(weights, content)
    write_whole(facts, json.dumps(described, indent=1).encode())


def _checksum(weights: bytes, described: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(weights)
    digest.update(json.dumps(described, sort_keys=True).encode())
    return digest.hexdigest()
