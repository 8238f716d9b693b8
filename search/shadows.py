"""Sees that nobody else's modules stand in place of those that we need.

Imports nothing that a foreign file could stand in for without being seen, `__future__` included.
"""

import importlib.util
import itertools
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

OURS = {"search": "forgetune.py", "trainables": "errors.py", "spaces": "mugan.py"}
"""Our import names are generic: a file or folder that tells each from others' of the same name."""

THEIRS = (
    "PIL _plotly_utils aiohttp aiohttp_cors aiosignal annotated_doc annotated_types attr attrs "
    "certifi charset_normalizer click cloudpickle colorful colorlog dateutil duckdb filelock "
    "frozenlist fsspec google grpc idna jinja2 joblib jsonpointer jsonschema "
    "jsonschema_specifications markdown_it markupsafe mdurl mpmath msgpack multidict narwhals "
    "numpy opencensus opentelemetry optuna packaging pandas plotly prometheus_client propcache "
    "pyarrow pydantic pydantic_core pygments pytz ray referencing requests rich rpds safetensors "
    "scipy shellingham sklearn sympy threadpoolctl tomli_w torch torchgen torchvision tqdm triton "
    "typer typing_inspection urllib3 yaml yarl"
)
"""Packages that we need of others, and that those need: nothing else may stand in their place.

Left out are modules of a single file, which do not tell enough of themselves.
"""


def foreign(standard: "frozenset[str]" = frozenset(sys.stdlib_module_names)) -> str | None:
    """The first module found that is not what forgetune takes it for, in one line; nothing is
    imported. `standard` names the modules of Python's own that matter."""
    for name, mark in OURS.items():
        found = importlib.util.find_spec(name)
        if found is None:
            return f"the package {name!r} is not there; is forgetune installed?"
        if not _has(found, mark):
            return (
                f"the package {name!r} found at {_place(found)} is not forgetune's; uninstall the "
                "other one, take its folder off PYTHONPATH, or use a virtual environment of its own"
            )
    ahead = _ahead_of_python()
    for name in THEIRS.split() if ahead else ():
        if (found := PathFinder.find_spec(name, ahead)) is not None and _hides(found):
            return _taken(name, _place(found), "the one that is installed")
    for name in sorted(standard) if ahead else ():
        if (found := PathFinder.find_spec(name, ahead)) is not None and found.origin is not None:
            used = importlib.util.find_spec(name)  # frozen and built-in modules come before all
            if used is not None and used.origin == found.origin:
                return _taken(name, found.origin, "Python's own")
    return None


def _has(found: ModuleSpec, mark: str) -> bool:
    folders = found.submodule_search_locations or ()
    return any(os.path.exists(os.path.join(folder, mark)) for folder in folders)


def _hides(found: ModuleSpec) -> bool:
    """Whether a module stands before another one of its name that it is no version of."""
    if found.origin is None:  # a folder without __init__.py comes after all packages
        return False
    folder = os.path.dirname(found.origin)
    if found.submodule_search_locations:
        folder = os.path.dirname(folder)
    places = [os.path.abspath(place) for place in sys.path]
    after = sys.path[places.index(os.path.abspath(folder)) + 1 :]
    hidden = PathFinder.find_spec(found.name, after)
    if hidden is None:
        return False
    expected = _files(hidden)
    return 2 * len(expected & _files(found)) < len(expected)


def _files(found: ModuleSpec) -> set[str]:
    folders = found.submodule_search_locations or ()
    names = {name for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)}
    return names - {"__init__.py", "__pycache__"}


def _place(found: ModuleSpec) -> str:
    return found.origin or next(iter(found.submodule_search_locations or ()), "nowhere")


def _taken(name: str, place: str, instead: str) -> str:
    return (
        f"the module {name!r} found at {place} would be taken for {instead}; rename it, or take "
        "its folder off PYTHONPATH"
    )


def _ahead_of_python() -> list[str]:
    """The folders in which modules are looked for before Python's own."""
    standard = os.path.dirname(os.__file__)
    if standard not in sys.path:
        return []
    before = sys.path[: sys.path.index(standard)]
    return [folder for folder in before if not folder.startswith(standard)]


def leave_the_current_folder() -> None:
    """Take the current folder, which `python -m search` puts first, off the path, unless our own
    packages lie there."""
    words = sys.orig_argv
    asked = ("-m", "search") in itertools.pairwise(words) or "-msearch" in words
    if not asked or sys.argv[:1] != ["-m"] or sys.flags.safe_path:
        return
    if not os.path.samefile(sys.path[0] or ".", os.path.dirname(os.path.dirname(__file__))):
        del sys.path[0]
