"""Reading a specification: a TOML file, or standard input, and what goes before it."""

from __future__ import annotations

import codecs
import sys
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from search.definition.spec import SECTIONS, StudySpec
from trainables.errors import InvalidRequest, shortened, unknown

STANDARD_INPUT = "-"
"""The path of a specification that is read from there."""


def load_spec(
    path: Path | None, overrides: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> StudySpec:
    """A specification from a TOML file (or the defaults), with values from the command line.

    `overrides` has the shape of the file, as have `defaults`, which hold where neither says
    anything; nested tables are merged key by key. Raises
    InvalidRequest, in one line that says what is possible, for an unreadable file, an unknown key
    and an impossible value.
    """
    described = _read_toml(path) if path else {}
    try:
        merged = merge(merge(defaults or {}, described), overrides)
    except RecursionError:
        raise InvalidRequest(f"{path}: nested too deeply") from None
    return validate(merged, _called(path) if path else "")


def validate(values: Mapping[str, Any], origin: str = "") -> StudySpec:
    """A specification from plain values. Raises InvalidRequest; `origin` names where they stood."""
    try:
        return StudySpec.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(_explain(error, origin)) from None
    except (RecursionError, OverflowError) as error:
        raise InvalidRequest(f"{origin}: cannot be understood ({error})") from None


def _read_toml(path: Path) -> dict[str, Any]:
    """A TOML file, or standard input for "-". Raises InvalidRequest."""
    try:
        content = _standard_input() if str(path) == STANDARD_INPUT else path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]:
            raise InvalidRequest(
                f"{_called(path)}: is in UTF-16; TOML is in UTF-8, so save it as that"
            )
        return tomllib.loads(content.decode("utf-8-sig"))
    except InvalidRequest:
        raise
    except FileNotFoundError:
        raise InvalidRequest(f"{_called(path)}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{_called(path)}: cannot be read ({error})") from None
    except RecursionError:
        raise InvalidRequest(f"{_called(path)}: not valid TOML (nested too deeply)") from None
    except ValueError as error:  # also of numbers and paths that are none
        raise InvalidRequest(f"{_called(path)}: not valid TOML ({error})") from None


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise InvalidRequest(
            "standard input: nothing is piped into it (as in `forgetune best --toml | forgetune "
            "trial -`)"
        )
    content = _all_of(sys.stdin.buffer)
    if not content.strip():
        raise InvalidRequest("standard input: is empty; a specification in TOML is expected")
    return content


@lru_cache(maxsize=1)
def _all_of(stream: BinaryIO) -> bytes:
    """What a stream gives, which it does once; several studies may be described by it."""
    return stream.read()


def _called(path: Path) -> str:
    return "standard input" if str(path) == STANDARD_INPUT else str(path)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _explain(error: ValidationError, origin: str) -> str:
    """The first thing wrong, in one line."""
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    prefix = f"{origin}: " if origin else ""
    if first["type"] == "extra_forbidden":
        section = SECTIONS.get(where[0], StudySpec) if len(where) > 1 else StudySpec
        kind = f"key of {where[0]}" if len(where) > 1 else "key"
        return prefix + unknown(kind, where[-1], section.model_fields)
    if where[0] == "space":
        name = ".".join(where[:2])
        return f"{prefix}{name}: give a value, a list of values or 'LOW..HIGH', all finite"
    name = ".".join(part for part in where if not part.startswith(("str", "int")))
    if first["type"] == "value_error":
        told = first["msg"].removeprefix("Value error, ")
    elif first["type"] == "model_type":
        told = "it should be a table of keys"
    else:
        told = first["msg"].lower()
    return f"{prefix}{name} is {shortened(first['input'])}: {told}"
