"""A trained network in half precision, in one file that `load` reads: for publication, not for further training."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.serialize import to_dict
from limpid.sampling.checkpoints import CheckpointInfo, CheckpointRef, guidance_model, is_model_name, read_weights
from limpid.storage.checkpoint import write_checkpoint
from limpid.storage.hub import is_hub_name


def save_half_precision(
    ref: CheckpointRef, path: Path, sampling: Sampling | None = None, weights: Literal["ema", "raw"] = "ema"
) -> CheckpointInfo:
    """Write the weights of a checkpoint as float16, with `sampling` or that of its recipe; returns the metadata of the
    file.

    Raises ValueError if a weight is too large for float16.
    """
    recipe = replace(ref.about.recipe, sampling=sampling or ref.about.recipe.sampling)
    about = replace(ref.about, recipe=public_recipe(recipe))
    tensors = {f"ema.{name}": half(name, weight) for name, weight in read_weights(ref, weights).items()}
    write_checkpoint(path, tensors, to_dict(about))
    return about


def half(name: str, weight: Tensor) -> Tensor:
    """A tensor of floats as float16, any other unchanged. Raises ValueError, with its name, if it does not fit."""
    if not weight.is_floating_point():
        return weight
    halved = weight.half()
    if not torch.isfinite(halved).all():
        raise ValueError(f"{name} holds {weight.abs().max():.3g}, which is not finite in float16")
    return halved


def public_recipe(recipe: Recipe) -> Recipe:
    """The recipe without paths of the machine that it was trained on.

    Raises ValueError if its sampling needs a guidance model that is only on that machine.
    """
    if (guide := guidance_model(recipe.sampling)) and not is_model_name(Path(guide)):
        advice = "push that model first and name it with --guidance-model hf:user/name, or add --guidance 1"
        raise ValueError(f"sampling is guided by {guide}, which is on this machine alone: {advice}")
    names = {name: getattr(recipe.data, name) for name in ("root", "labels") if hasattr(recipe.data, name)}
    public = {name: "" if name == "root" else Path(value).name for name, value in names.items()}
    init = recipe.init if is_hub_name(recipe.init) else ""
    return replace(recipe, data=replace(recipe.data, **public), init=init)
