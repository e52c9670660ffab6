"""The name that a verb begins with."""

from collections.abc import Sequence

from limpid.recipes import RECIPES


def named(verb: str, what: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The name that a verb begins with, and the rest. Raises ValueError without one."""
    if not arguments or arguments[0].startswith("-"):
        names = f" ({', '.join(RECIPES)})" if what == "RECIPE" else ""
        raise ValueError(f"limpid {verb} needs a {what}{names}: limpid {verb} {what} [options]")
    return arguments[0], list(arguments[1:])
