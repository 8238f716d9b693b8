"""Which versions of packages are here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(package: str) -> str:
    """The version of a distribution; "not installed" where its code came another way, as with a
    Ray job."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
