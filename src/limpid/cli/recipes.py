"""`limpid recipes`: the recipes, with what they cost and the scores that are known."""

import inspect
from collections.abc import Sequence

from limpid.recipes.registry import RECIPES
from limpid.runtime.terminal import echo


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {}


def main(arguments: Sequence[str]) -> int:
    """`limpid recipes`."""
    if arguments:
        raise ValueError(f"limpid recipes takes no names or options, but was given {' '.join(arguments)}")
    for recipe in dict.fromkeys(RECIPES.values()):
        names = [name for name, other in RECIPES.items() if other is recipe]
        text = inspect.cleandoc(recipe.__doc__ or "").replace("\n", "\n    ").replace("\n    \n", "\n\n")
        echo(f"{' or '.join(names)}\n    {text}\n")
    return 0
