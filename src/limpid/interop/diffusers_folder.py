"""A model as a folder that `DiffusionPipeline.from_pretrained` of diffusers loads, written without diffusers."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from limpid.interop.diffusers_scheduler import SchedulerMapping, scheduler_mapping
from limpid.interop.unet2d import unet2d_config, unet2d_reasons
from limpid.interop.unet2d_names import unet2d_tensors
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe
from limpid.storage.atomic import atomic_write
from limpid.storage.checkpoint import Plain

DIFFUSERS_VERSION = "0.35.0"
"""The oldest version that the folders are tested with."""
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
METADATA_FILE = "limpid.json"
"""What a folder of diffusers cannot hold, such as the recipe of training and the names of the classes."""
CONFIG_FILES = ("unet/config.json", "scheduler/scheduler_config.json", METADATA_FILE, "model_index.json")
DIFFUSERS_FILES = (f"unet/{WEIGHTS_FILE}", *CONFIG_FILES)
"""All files of a folder."""


def diffusers_reasons(recipe: Recipe, shape: tuple[int, int, int]) -> list[str]:
    """Every reason why diffusers cannot sample images of `shape` as this recipe does; none if it can."""
    return [*unet2d_reasons(recipe.network, shape), *scheduler_mapping(recipe, shape).reasons]


def write_diffusers_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    recipe: Recipe,
    shape: tuple[int, int, int],
    num_classes: int,
    metadata: Plain,
) -> SchedulerMapping:
    """Write the network of a recipe, its weights and its sampling; the pipeline that they are for.

    Files of the same names are replaced, model_index.json last. `metadata` is for limpid.json. Raises ValueError, with
    every reason, for what has no stock pipeline.
    """
    if reasons := diffusers_reasons(recipe, shape):
        raise ValueError("no stock pipeline of diffusers samples this model as it is: " + "; ".join(reasons))
    assert isinstance(recipe.network, UNet)
    classes = num_classes if recipe.class_conditional else 0
    config = unet2d_config(recipe.network, shape, classes, 2 if recipe.learned_variance else 1)
    mapping = scheduler_mapping(recipe, shape)
    version = {"_diffusers_version": DIFFUSERS_VERSION}
    named = unet2d_tensors(recipe.network, {name: tensor.detach().cpu() for name, tensor in tensors.items()})
    with atomic_write(folder / "unet" / WEIGHTS_FILE) as part:
        save_file({name: tensor.contiguous() for name, tensor in named.items()}, part, {"format": "pt"})
    _write_json(folder / "unet" / "config.json", config | version)
    scheduler = {"_class_name": mapping.scheduler, **version, **mapping.config}
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(folder / METADATA_FILE, metadata)
    parts = {"scheduler": ["diffusers", mapping.scheduler], "unet": ["diffusers", "UNet2DModel"]}
    _write_json(folder / "model_index.json", {"_class_name": mapping.pipeline, **version, **parts})
    return mapping


def check_own_folder(folder: Path) -> None:
    """Raise ValueError for a folder with a model of diffusers that limpid did not write."""
    if (folder / "model_index.json").exists() and not (folder / METADATA_FILE).exists():
        raise ValueError(f"{folder} holds a model of diffusers that limpid did not write: choose another --out")


def remove_diffusers_files(folder: Path) -> None:
    """Remove what an earlier `write_diffusers_folder` wrote, model_index.json first; all else stays."""
    check_own_folder(folder)
    if not (folder / METADATA_FILE).exists():
        return
    for name in ("model_index.json", f"unet/{WEIGHTS_FILE}", *CONFIG_FILES[:2], METADATA_FILE):
        (folder / name).unlink(missing_ok=True)
    for name in ("unet", "scheduler"):
        if (folder / name).is_dir() and not any((folder / name).iterdir()):
            (folder / name).rmdir()


def pipeline_call(mapping: SchedulerMapping, folder: Path, seeds: list[int], labels: list[int] | None) -> str:
    """The Python that samples from a written folder with one generator for each of `seeds`."""
    given = {"batch_size": len(seeds), **({"class_labels": labels} if labels else {}), **mapping.call}
    words = ", ".join(f"{name}={value!r}" for name, value in given.items())
    generators = f"[torch.Generator().manual_seed(seed) for seed in {seeds}]"
    return f'diffusers.DiffusionPipeline.from_pretrained("{folder.as_posix()}")({words}, generator={generators}).images'


def _write_json(path: Path, plain: Plain) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
