"""The view Learn: the recipes with what they cost, and what is checked before a run is started."""

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limpid.data import Cifar10, Folder
from limpid.lab.models import find_models
from limpid.lab.noise import NoQuery
from limpid.lab.runs import find_run
from limpid.lab.workspace import Workspace
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES
from limpid.recipes.schema import schema
from limpid.recipes.serialize import match_choice, to_dict

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
"""The name of a new run, which becomes its folder."""


@dataclass(frozen=True)
class StartQuery:
    """A new run."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class RunQuery:
    """A run that is there."""

    run: str


def learn_form(workspace: Workspace, query: NoQuery) -> Any:
    """The recipes with their documentation, which ends with what they cost, and what a recipe is made of."""
    recipes = [
        {"name": name, "doc": inspect.getdoc(function) or "", "recipe": to_dict(function())}
        for name, function in RECIPES.items()
    ]
    images = [str(path) for path in workspace.images]
    return {"recipes": recipes, "schema": schema(Recipe), "folder": str(workspace.new_runs), "images": images}


def new_run(workspace: Workspace, query: StartQuery) -> Any:
    """The folder and the recipe of a new run. Raises ValueError for a name that is taken, or a path that the lab was
    not given."""
    if not NAME.fullmatch(query.name):
        raise ValueError(f"name {query.name[:80]!r}: expected letters, digits, - _ and ., at most 80")
    folder = workspace.new_runs / query.name
    if folder.exists():
        raise ValueError(f"{folder} is there already: choose another name, or go on with that run")
    check_paths(workspace, query.recipe)
    return {"folder": str(folder), "recipe": to_dict(query.recipe)}


def old_run(workspace: Workspace, query: RunQuery) -> Any:
    """The folder of a run to go on with."""
    return {"folder": str(find_run(workspace, query.run)), "recipe": None}


def check_paths(workspace: Workspace, recipe: Recipe) -> None:
    """Raise ValueError if a recipe reads other files than those of the lab."""
    data, images = recipe.data, [str(path) for path in workspace.images]
    if isinstance(data, Folder | Cifar10) and (data.root or isinstance(data, Folder)):
        if not images:
            raise ValueError("request.recipe.data.root: start limpid lab with --images FOLDER to train on it")
        match_choice("request.recipe.data.root", data.root, images)
    if isinstance(data, Folder) and data.labels and Path(data.labels.partition(":")[0]).expanduser().is_file():
        raise ValueError(f"request.recipe.data.labels {data.labels}: expected a table that is among the images")
    if recipe.sampling.guidance_model:
        match_choice("request.recipe.sampling.guidance_model", recipe.sampling.guidance_model, find_models(workspace))
