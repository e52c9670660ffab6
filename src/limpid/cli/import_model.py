"""`limpid import`: a model of another program as a run folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.data import Folder
from limpid.evaluation.model import is_run
from limpid.interop.foreign import is_foreign
from limpid.interop.foreign_model import ForeignOptions, folder_of_shape
from limpid.recipes.recipe import Recipe
from limpid.recipes.serialize import to_dict
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_foreign, foreign_tensors
from limpid.storage.checkpoint import save_checkpoint
from limpid.training.run_folder import write_json


@dataclass(frozen=True)
class Import:
    """Write the model of another program as a run folder: to sample from it, evaluate it, or train from its weights.

    Reads folders of diffusers, files of improved-diffusion, guided-diffusion, pytorch-ddpm and score_sde_pytorch, and
    pickles of EDM.
    """

    run: Path
    """The run folder to write."""
    options: Annotated[ForeignOptions, FLATTEN] = ForeignOptions()


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid import PATH": Import(Path("runs/PATH"))}


def main(arguments: Sequence[str]) -> int:
    """`limpid import PATH [options]`."""
    name, rest = positional("import", "PATH", arguments)
    path = Path(name)
    options = parse(Import(Path("runs") / path.resolve().stem), rest, f"limpid import {name}")
    if is_run(path) and not is_foreign(path):
        raise ValueError(f"{name} is a model of limpid already: limpid sample {name} samples from it")
    if not is_foreign(path):
        what = "is no model of another program" if path.exists() else "is not there"
        raise ValueError(f"{name} {what}: expected a folder of diffusers, or a .pt, .pth, .ckpt, .bin or .pkl file")
    if options.run.exists():
        raise ValueError(f"{options.run} is there already: name another folder with --run")
    ref = find_foreign(path, options.options)
    file = save_checkpoint(
        options.run / "checkpoints", ref.about.images_seen, foreign_tensors(ref), to_dict(ref.about), keep=0
    )
    write_json(options.run / "recipe.json", to_dict(ref.about.recipe))
    echo(file)
    echo(f"to sample from it: limpid sample {options.run}")
    data = own_images_options(ref.about.recipe, ref.about.image_shape)
    echo(f"to continue training: limpid train {options.run} --init {options.run} {data} --run runs/NEW")
    return 0


def own_images_options(recipe: Recipe, shape: tuple[int, int, int]) -> str:
    """The options that train a recipe on a folder of images, in the shape that the network takes."""
    if isinstance(recipe.data, Folder):
        return "--data FOLDER"
    folder = folder_of_shape(shape)
    width = f" --data.width {folder.width}" if folder.width else ""
    return f"--data FOLDER --data.size {folder.size}{width} --data.channels {folder.channels}"
