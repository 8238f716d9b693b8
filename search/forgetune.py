"""Where the command starts, once it is certain that all is what it is taken for.

By this file the installed module `forgetune` (`start.py`) tells our `search` from others'.
"""

import sys

from search.shadows import foreign


def main() -> None:
    """The command; a foreign module ends it in one line and exit code 2."""
    wrong = foreign()
    if wrong is not None:
        print(f"forgetune: {wrong}", file=sys.stderr)
        sys.exit(2)
    from search.cli import main as command

    command()
