"""`limpid recipes`: what there is to train."""

import inspect
from collections.abc import Sequence

from limpid.recipes.registry import RECIPES
from limpid.runtime.terminal import echo


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {}


def main(arguments: Sequence[str]) -> int:
    """`limpid recipes`."""
    if arguments:
        raise ValueError(f"limpid recipes takes no options, but was given {' '.join(arguments)}")
    for name, recipe in RECIPES.items():
        echo(f"{name}\n    " + inspect.cleandoc(recipe.__doc__ or "").replace("\n", "\n    ") + "\n")
    return 0
