"""Recipes by name: each a function whose docstring says what it is, what it costs and what it is known to reach."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

from limpid.recipes.cifar10 import (
    cifar10,
    cifar10_64,
    cifar10_cond,
    cifar10_edm,
    cifar10_edm_cond,
    cifar10_fast,
    cifar10_flow,
    cifar10_iddpm,
    cifar10_small,
    cifar10_v,
    small,
)
from limpid.recipes.demo import demo
from limpid.recipes.recipe import Recipe
from limpid.recipes.serialize import errors_name_file, from_dict, match_choice
from limpid.storage.regular_files import read_bytes

NAMED = (
    *(demo, cifar10_small, small, cifar10_fast, cifar10, cifar10_64, cifar10_cond),
    *(cifar10_iddpm, cifar10_v, cifar10_edm, cifar10_edm_cond, cifar10_flow),
)


RECIPES: dict[str, Callable[[], Recipe]] = {recipe.__name__.replace("_", "-"): recipe for recipe in NAMED}
RECIPES["cifar10-ddpm"] = cifar10


MAX_RECIPE_BYTES = 1 << 20
"""Bytes of the longest recipe that is read."""


def find_recipe(name: str) -> Recipe:
    """The recipe of this name, in this .toml or .json file, or of this run folder.

    A file may hold only what differs from another recipe, named by its key `base`. Raises ValueError for anything else.
    """
    path = Path(name)
    if path.is_dir() and name not in RECIPES:
        path = path / "recipe.json"
        if not path.is_file():
            raise ValueError(f"{name} is a folder without a recipe.json: no run; {own_images_hint(path.parent)}")
    if path.suffix in (".toml", ".json"):
        return load_recipe_file(path)
    if path.suffix.lower() in (".zip", ".npz") and path.is_file():
        raise ValueError(f"{name} is no recipe; {own_images_hint(path)}")
    return RECIPES[match_choice("recipe", name, RECIPES)]()


def own_images_hint(path: Path) -> str:
    """How to train on one's own images."""
    return f"to train on the images in it: limpid train small --data.root {path}"


def load_recipe_file(path: Path) -> Recipe:
    """The recipe written in a .toml or .json file. Raises ValueError, with the file's name, if it is none."""
    try:
        text = read_bytes(path, MAX_RECIPE_BYTES)
        plain = (tomllib.loads if path.suffix == ".toml" else json.loads)(text.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the recipe {path}: {error}") from error
    with errors_name_file(path):
        base = plain.pop("base", None) if isinstance(plain, dict) else None
        default = Recipe() if base is None else RECIPES[match_choice("recipe", str(base), RECIPES)]()
        return from_dict(Recipe, plain, default=default)
