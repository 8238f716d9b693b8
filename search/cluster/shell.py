"""What command lines of a launcher file do, as far as their words tell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Start:
    """A `ray start`: the environment that its line gives it, and its options."""

    environment: Mapping[str, str]
    options: Mapping[str, str]


def words(text: str) -> list[str]:
    """The words of a command line, with `;`, `&&`, `|` and `>` as words of their own."""
    lexer = shlex.shlex(
        text.strip().replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars=True
    )
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return [*lexer]
    except ValueError:
        return text.split()


def commands(text: str) -> Iterator[list[str]]:
    """The single commands of a line."""
    command: list[str] = []
    for word in words(text):
        if word and set(word) <= set(";&|()"):
            yield command
            command = []
        else:
            command.append(word)
    yield command


def starts(text: str) -> Iterator[Start]:
    """Every `ray start` of a line; what is exported before it reaches it too."""
    exported: dict[str, str] = {}
    for command in commands(text):
        own: dict[str, str] = {}
        for position, word in enumerate(command):
            name, sign, value = word.partition("=")
            if "ray start" in word:  # bash -c "..."
                for inner in starts(word):
                    yield Start({**exported, **own, **inner.environment}, inner.options)
            elif sign and re.fullmatch(r"[A-Za-z_]\w*", name):
                own[name] = value
            elif PurePosixPath(word).name == "ray" and command[position + 1 :][:1] == ["start"]:
                yield Start({**exported, **own}, options(command[position + 2 :]))
                break
        if command[:1] == ["export"]:
            exported |= own


def options(given: list[str]) -> dict[str, str]:
    """The options of a command: `--name=value`, `--name value` or `--flag`."""
    found: dict[str, str] = {}
    for position, word in enumerate(given):
        if word.startswith("--"):
            name, sign, value = word.partition("=")
            following = given[position + 1 :][:1]
            if not sign and following and not following[0].startswith("-"):
                value = following[0]
            found[name] = value
    return found


def values(given: list[str], option: str) -> Iterator[str]:
    """What is given for an option that can be repeated."""
    for position, word in enumerate(given):
        if word == option:
            yield from given[position + 1 :][:1]
        elif option.startswith("--") and word.startswith(f"{option}="):
            yield word.partition("=")[2]


def installed(lines: Iterable[str]) -> Iterator[str]:
    """What is given to `pip install` and its like."""
    for text in lines:
        for command in commands(text):
            if "install" in command:
                yield from command[command.index("install") + 1 :]


_MOUNTERS = re.compile(r"mount(\..+|-s3)?|s3fs|gcsfuse|sshfs|juicefs")


def mounted(lines: Iterable[str]) -> Iterator[str]:
    """The folders at which `mount` and its like put something."""
    for text in lines:
        for command in commands(text):
            if any(_MOUNTERS.fullmatch(PurePosixPath(word).name) for word in command[:2]):
                yield from (word for word in command[-1:] if word.startswith("/"))
