"""Models of other programs by their path: their kind is recognised from their files, and what they hold is checked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from limpid.interop.diffusers_import import diffusers_model, is_diffusers_folder
from limpid.interop.edm import edm_model
from limpid.interop.foreign_model import ForeignModel, ForeignOptions, with_image_shape
from limpid.interop.openai import is_openai, openai_model
from limpid.interop.persistent_pickle import is_persistent_pickle, read_persistent_pickle
from limpid.interop.pytorch_ddpm import is_pytorch_ddpm, pytorch_ddpm_model
from limpid.interop.score_sde import is_score_sde, score_sde_model
from limpid.interop.torch_file import read_torch_file
from limpid.recipes.recipe import build_denoiser
from limpid.recipes.serialize import errors_name_file
from limpid.storage.checkpoint import check_matches
from limpid.storage.hub import is_hub_folder

FOREIGN_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
READERS: dict[str, tuple[Callable[[dict], bool], Callable[[dict, ForeignOptions], ForeignModel]]] = {
    "OpenAI's improved- or guided-diffusion": (is_openai, openai_model),
    "pytorch-ddpm": (is_pytorch_ddpm, pytorch_ddpm_model),
    "score_sde_pytorch (ddpm)": (is_score_sde, score_sde_model),
}
"""The programs whose files are read, and how a file of each is known."""


def is_foreign(path: Path) -> bool:
    """Whether a path looks like a model of another program: a folder of diffusers, or a file of weights.

    A folder that holds the model in limpid's own format too, as a run or an export for the Hub may, is one of limpid.
    """
    if not path.is_dir():
        return path.suffix.lower() in FOREIGN_SUFFIXES and path.exists()
    return is_diffusers_folder(path) and not (is_hub_folder(path) or (path / "checkpoints").is_dir())


def read_foreign(path: Path, options: ForeignOptions) -> ForeignModel:
    """The model of another program. Raises ValueError, with the path, if it is none that limpid knows, or is broken."""
    with errors_name_file(path):
        try:
            model = diffusers_model(path, options) if path.is_dir() else _model_in_file(path, options)
            with torch.device("meta"):  # a network of absurd size is refused before it takes memory
                like = build_denoiser(model.recipe, model.image_shape, len(model.class_names)).net.state_dict()
        except (LookupError, TypeError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:80]
            raise ValueError(f"its tensors are not those of such a model ({type(error).__name__}: {reason})") from error
        for tensors in model.tensors.values():
            check_matches(tensors, like, path)
    return replace(model, recipe=with_image_shape(model.recipe, model.image_shape))


def _model_in_file(path: Path, options: ForeignOptions) -> ForeignModel:
    if is_persistent_pickle(path):
        return edm_model(read_persistent_pickle(path), options)
    table = read_torch_file(path)
    for is_kind, read in READERS.values():
        if is_kind(table):
            return read(table, options)
    raise ValueError(f"it is of none of the programs that limpid knows: {', '.join(READERS)}, EDM")
