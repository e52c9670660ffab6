"""Recipes by name: functions whose docstrings give a description, the cost and the published FID."""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from limpid.diffusion.guidance import Guidance
from limpid.recipes.cifar10 import (
    cifar10,
    cifar10_64,
    cifar10_64_small,
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
from limpid.recipes.demo import demo, demo_ddpm
from limpid.recipes.recipe import Recipe
from limpid.recipes.serialize import errors_name_file, from_dict, match_choice
from limpid.storage.regular_files import read_bytes

NAMED = (
    *(demo, demo_ddpm, cifar10_small, small, cifar10_64_small, cifar10_fast, cifar10),
    *(cifar10_64, cifar10_cond, cifar10_iddpm, cifar10_v, cifar10_edm, cifar10_edm_cond, cifar10_flow),
)


RECIPES: dict[str, Callable[[], Recipe]] = {recipe.__name__.replace("_", "-"): recipe for recipe in NAMED}
RECIPES["cifar10-ddpm"] = cifar10


MAX_RECIPE_BYTES = 1 << 20
"""Limit of the size of a recipe file, in bytes."""


def find_recipe(name: str) -> Recipe:
    """The recipe of this name, in this .toml or .json file, or of this run folder.

    A file may hold only what differs from another recipe, named by its key `base`. Raises ValueError for anything else.
    """
    path = Path(name)
    if path.is_dir() and name not in RECIPES:
        path = path / "recipe.json"
        if not path.is_file():
            raise ValueError(f"{name} is a folder without a recipe.json, so not a run; {own_images_hint(path.parent)}")
    if path.suffix in (".toml", ".json"):
        return load_recipe_file(path)
    if path.suffix.lower() in (".zip", ".npz") and path.is_file():
        raise ValueError(f"{name} is not a recipe; {own_images_hint(path)}")
    return RECIPES[match_choice("recipe", name, RECIPES)]()


def own_images_hint(path: Path) -> str:
    """A hint: how to train on these images."""
    return f"to train on the images in it: limpid train small --data.root {path}"


def load_recipe_file(path: Path) -> Recipe:
    """The recipe written in a .toml or .json file. Raises ValueError, with the file's name, if it is none."""
    try:
        text = read_bytes(path, MAX_RECIPE_BYTES)
        plain = (tomllib.loads if path.suffix == ".toml" else json.loads)(text.decode())
    except OSError as error:
        raise ValueError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the recipe {path}: {error}") from error
    with errors_name_file(path):
        base = plain.pop("base", None) if isinstance(plain, dict) else None
        default = Recipe() if base is None else RECIPES[match_choice("recipe", str(base), RECIPES)]()
        return from_dict(Recipe, plain, default=default)


def recipe(name: str | Path, changes: Mapping[str, Any] | None = None, /, **other: Any) -> Recipe:
    """The recipe of a name, a .toml or .json file or a run folder, with other values for some of its fields.

    `recipe("demo", batch_size=64, schedule=Cosine())`, or a field of a field by its dotted name:
    `recipe("demo", {"optimizer.lr": 1e-3, "schedule": "Cosine"})`. Raises ValueError, with the nearest name, for a
    field that does not exist, and for a value of the wrong type.
    """
    return with_changes(find_recipe(str(name)), {**(changes or {}), **other})


Fields = TypeVar("Fields")


def with_changes(current: Fields, changes: Mapping[str, Any], where: str = "recipe") -> Fields:
    """A dataclass with other values for some of its fields; dotted names are fields of fields.

    A class may be given by its name, and guidance by its scale. Raises ValueError as `recipe`.
    """
    for name, value in changes.items():
        first, dot, rest = name.partition(".")
        first = match_choice(f"field of {where}", first, [spec.name for spec in fields(current)])  # pyright: ignore[reportArgumentType]
        inner = getattr(current, first)
        if dot and not is_dataclass(inner):
            raise ValueError(f"{where}.{first} is {inner!r}, which has no field {rest}")
        if dot:
            value = with_changes(inner, {rest: value}, f"{where}.{first}")
        elif isinstance(inner, Guidance) and isinstance(value, int | float):
            value = replace(inner, scale=float(value))
        elif not is_dataclass(value):
            value = from_dict(get_type_hints(type(current))[first], value, f"{where}.{first}", inner)
        current = replace(current, **{first: value})  # pyright: ignore[reportArgumentType, reportCallIssue]
    return current
