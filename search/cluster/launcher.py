"""Reading a launcher file as Ray does, and why Ray would refuse it."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from search.cluster.findings import Finding, error, line, short
from trainables.errors import InvalidRequest, unknown


def read(path: Path) -> str:
    """The text of the file. Raises InvalidRequest."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidRequest(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidRequest(f"{path}: cannot be read ({problem})") from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """The mapping that the text is. Nothing in it is run: tags that make objects are refused.

    Raises InvalidRequest, without a word of what stands in the file.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        documents = [*yaml.safe_load_all(text)]
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        what = getattr(problem, "problem", None) or type(problem).__name__
        raise InvalidRequest(f"{where}: not valid YAML ({line(what)[:120]})") from None
    except (RecursionError, ValueError, TypeError):
        raise InvalidRequest(f"{path}: not valid YAML") from None
    for document in documents:
        if isinstance(document, dict) and {"apiVersion", "kind"} <= document.keys():
            raise InvalidRequest(
                f"{path}: this is for Kubernetes, not for Ray's cluster launcher; `kubectl apply "
                f"--dry-run=server -f {path}` checks it"
            )
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise InvalidRequest(f"{path}: not a launcher file, which is a mapping of keys to values")
    return documents[0]


_NAMED = re.compile(
    r"\b(?P<name>RAY_AUTH_TOKEN|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN)\s*[=:]\s*"
    r"[\"']?(?P<value>[^\s\"'$<{;&|]{6,})"
)
_BARE = re.compile(r"(?<![0-9a-f:])(?P<value>[0-9a-f]{64})(?![0-9a-f])")
"""A token as Ray makes them; an image's digest has `sha256:` before it."""


def hide_secrets(text: str) -> tuple[str, list[Finding]]:
    """The text without the secrets that stand in it, comments included, and where they stood."""
    lines, findings = text.split("\n"), []
    for number, content in enumerate(lines):
        named = {match["value"]: match["name"] for match in _NAMED.finditer(content)}
        bare = {match["value"]: "what looks like a token" for match in _BARE.finditer(content)}
        for value, name in {**bare, **named}.items():
            lines[number] = lines[number].replace(value, "HIDDEN")
            findings.append(
                error(
                    f"line {number + 1}: {name} stands in the file, for whoever gets to see it; "
                    "mount a file that holds it, and make a new one"
                )
            )
    return "\n".join(lines), findings


def refusals(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Why Ray's schema does not allow the file."""
    from ray.autoscaler._private.providers import _DEFAULT_CONFIGS

    provider = config.get("provider")
    kind = provider.get("type") if isinstance(provider, dict) else None
    if isinstance(kind, str) and kind not in _DEFAULT_CONFIGS and kind != "external":
        yield error(unknown("provider.type", kind, _DEFAULT_CONFIGS))
        return
    if kind == "local" and "available_node_types" in config:
        yield error(
            "available_node_types is refused by Ray for provider local: it finds out itself what "
            "the machines have; provider.head_ip and provider.worker_ips say which they are"
        )
        return
    for key in ("head_node", "worker_nodes"):
        if key in config:
            yield error(
                f"{key} is of Ray 1 and refused: available_node_types and head_node_type replace it"
            )
            return
    yield from _schema(config)


def _schema(config: Mapping[str, Any]) -> Iterator[Finding]:
    import jsonschema  # type: ignore[import-untyped]
    import ray.autoscaler

    schema = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text())
    # Ray takes this one out before it looks at the schema.
    plain = {key: value for key, value in config.items() if key != "min_workers"}
    try:
        for problem in jsonschema.Draft7Validator(schema).iter_errors(plain):
            yield from _explain(problem)
    except (RecursionError, TypeError):
        yield error("the file has keys that are no text, or refers to itself without end")


_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def _explain(problem: Any) -> Iterator[Finding]:
    """A violation of the schema in words; several keys may be wrong at one place."""
    where = ""
    for part in problem.absolute_path:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    value, wanted = problem.instance, problem.validator_value
    if problem.validator == "additionalProperties":
        known = problem.schema["properties"]
        kind = f"key of {where}" if where else "key"
        yield from (error(unknown(kind, key, known)) for key in value if key not in known)
    elif problem.validator == "required":
        prefix = f"{where}." if where else ""
        yield from (error(f"{prefix}{key} is missing") for key in wanted if key not in value)
    elif problem.validator == "type":
        names = [wanted] if isinstance(wanted, str) else wanted
        hint = ""
        if ".resources." in where and isinstance(value, float):
            hint = "; to put several trials on a GPU, give --gpus-per-trial 0.5 to forgetune"
        elif isinstance(value, dict) and names == ["string"]:
            hint = "; put the line in quotes, `a: b` is a mapping"
        wish = " or ".join(_KINDS.get(name, name) for name in names)
        yield error(f"{where} is {short(value)}, but must be {wish}{hint}")
    elif problem.validator == "minimum":
        yield error(f"{where} is {short(value)}, but must be at least {wanted}")
    else:
        yield error(f"{where}: {line(problem.message)[:200]}")


def filled_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """The file with Ray's defaults, as `ray up` has it before it asks a cloud.

    Raises InvalidRequest if Ray refuses it.
    """
    from ray.autoscaler._private.util import prepare_config, validate_config

    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    silent = io.StringIO()
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            prepared: dict[str, Any] = prepare_config(copy.deepcopy({**config}))
            validate_config(prepared)
    except Exception as problem:
        plain = line(re.sub(r"\x1b\[[0-9;]*m", "", str(problem)))[:200]
        raise InvalidRequest(f"Ray refuses it: {plain or type(problem).__name__}") from None
    finally:
        logging.disable(level)
    return prepared
