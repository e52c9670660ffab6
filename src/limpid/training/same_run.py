"""The recipe of a resumed run may differ in its duration, sampling and intervals, and in nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from limpid.data import DataSource
from limpid.optim.optimizers import lr_at
from limpid.recipes.recipe import Recipe, with_absolute_root
from limpid.recipes.registry import load_recipe_file
from limpid.recipes.serialize import to_dict
from limpid.sampling.checkpoints import CheckpointInfo
from limpid.sampling.training_data import check_data

MUTABLE_FIELDS = ("duration", "sampling", "every")
"""Fields of a recipe that may differ when a run is resumed."""
MUTABLE_DATA_FIELDS = ("root", "labels", "workers")
"""Fields of its data that may differ: the paths of the files, and the number of processes that read them. Other labels
or splits are detected by the fingerprint of the data."""


def check_same_recipe(recipe: Recipe, folder: Path) -> None:
    """Raise ValueError if the folder holds a run whose recipe differs in other fields."""
    path = folder / "recipe.json"
    if not path.exists():
        return
    if changed := recipe_changes(load_recipe_file(path), recipe):
        raise ValueError(
            f"{folder} holds a run of another recipe ({', '.join(changed)}): name another folder with --run"
        )


def recipe_changes(before: Recipe, after: Recipe) -> list[str]:
    """The differences between two recipes that prevent resuming, in words.

    The path of the data may change: `check_same_data` compares its content.
    """
    free = {name: getattr(after, name) for name in MUTABLE_FIELDS}
    if type(before.data) is type(after.data):
        moved = {name: getattr(after.data, name) for name in MUTABLE_DATA_FIELDS if hasattr(after.data, name)}
        free["data"] = replace(before.data, **moved)
    before = replace(before, **free)
    return [] if before == after else recipe_differences(to_dict(before), to_dict(after))


def check_same_data(recipe: Recipe, folder: Path, about: CheckpointInfo, source: DataSource) -> None:
    """Raise ValueError if the data differs from what the run was trained on: by its fingerprint, or by its path if the
    run has none, as in early versions."""
    check_data(about, source, folder)
    if about.data.images:
        return
    before, now = (
        getattr(with_absolute_root(each).data, "root", "") or "$LIMPID_DATA" for each in (about.recipe, recipe)
    )
    if before != now:
        why = "the run has no fingerprint of its data, so move the data back"
        raise ValueError(f"{folder} was trained on the data at {before}, and this data is at {now}: {why}")


def check_no_rewarm(recipe: Recipe, folder: Path, seen: int) -> None:
    """Raise ValueError if the learning rate after `seen` images has decayed, and would jump up because the run is made
    longer."""
    path = folder / "recipe.json"
    planned = load_recipe_file(path).duration if path.exists() else recipe.duration
    before, after = (lr_at(recipe.optimizer, seen, images) for images in (planned, recipe.duration))
    if recipe.duration > planned and after > before:
        raise ValueError(
            f"{folder} was planned for {planned:,} images, and with {recipe.duration:,} its learning rate would jump "
            f"from {before:.3g} to {after:.3g} after {seen:,}: train so long in another folder, or add --allow-rewarm"
        )


def recipe_differences(before: Any, after: Any, where: str = "") -> list[str]:
    """The differences between two plain values, in words: `batch 128 -> 64`."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = dict.fromkeys([*before, *after])
        return [
            d for n in names for d in recipe_differences(before.get(n), after.get(n), f"{where}.{n}" if where else n)
        ]
    return [] if before == after else [f"{where} {before} -> {after}"]
