"""The installed `forgetune` command: the top-level module `forgetune` (see pyproject.toml).

Its own name is nobody else's; `search` may be another package.
"""

import importlib.util
import os
import sys


def main() -> None:
    """Entry point."""
    found = importlib.util.find_spec("search")
    folders = (found and found.submodule_search_locations) or ()
    if not any(os.path.exists(os.path.join(folder, "forgetune.py")) for folder in folders):
        where = found.origin if found else "nowhere"
        print(
            f"forgetune: the package 'search' found at {where} is not forgetune's; uninstall the "
            "other one, take its folder off PYTHONPATH, or use a virtual environment of its own",
            file=sys.stderr,
        )
        sys.exit(2)
    from search.forgetune import main as command

    command()
