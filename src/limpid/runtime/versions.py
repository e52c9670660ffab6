"""Versions of limpid and of the packages it is built on, recorded beside results."""

from importlib.metadata import version as installed_version

from limpid import __version__


def version(package: str) -> str:
    """The version of a package; limpid's own is that of the code that runs, however it was installed."""
    return __version__ if package == "limpid" else installed_version(package)
