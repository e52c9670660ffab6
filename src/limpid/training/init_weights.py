"""Fine-tuning: training that begins with the weights of a run, a checkpoint or a model of another program."""

import math
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor

from limpid.data import DataSource
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.recipes.serialize import to_dict
from limpid.runtime import distributed
from limpid.runtime.log import logger
from limpid.sampling.checkpoints import CheckpointInfo, find_checkpoint, read_weights
from limpid.storage.checkpoint import check_matches
from limpid.training.same_run import recipe_differences

LABEL_TABLE = "embedding.labels.weight"


class InitialWeights(NamedTuple):
    """The tensors of the network that a run begins with, and their checksum; none without `--init`."""

    tensors: dict[str, Tensor] | None = None
    sha256: str = ""


def initial_weights(recipe: Recipe, source: DataSource) -> InitialWeights:
    """The EMA weights that the recipe's `init` names, with a table for the classes of the images.

    Raises ValueError if there are none, or if they are of another network or prediction target.
    """
    if not recipe.init:
        return InitialWeights()
    ref = find_checkpoint(recipe.init)
    about = ref.about
    check_same_network(about.recipe, recipe)
    names = source.class_names if recipe.class_conditional else ()
    tensors = with_classes(read_weights(ref), about, recipe, names)
    with torch.device("meta"):
        like = build_denoiser(recipe, source.shape, len(source.class_names)).net.state_dict()
    try:
        check_matches(tensors, like, ref.file)
    except ValueError as error:
        if about.image_shape == source.shape:
            raise
        shapes = [
            f"{height}x{width} with {channels} channels"
            for channels, height, width in (about.image_shape, source.shape)
        ]
        raise ValueError(
            f"the weights of {recipe.init} are for images of {shapes[0]}, and these have {shapes[1]}: "
            "--data.size and --data.channels choose how images are read"
        ) from error
    if distributed.is_main_process():
        logger.info(f"beginning with the weights of {recipe.init}")
    digest = sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].float().contiguous().numpy().tobytes())
    return InitialWeights(tensors, digest.hexdigest())


def check_same_network(before: Recipe, after: Recipe) -> None:
    """Raise ValueError unless the weights of one recipe have the same meaning in the network of the other.

    Dropout has no weights, and attention is checked by the shapes of the tensors.
    """

    def plain(recipe: Recipe) -> dict:
        network = recipe.network
        if isinstance(network, UNet):
            network = replace(network, dropout=0.0, attn_resolutions=())
        parts = {"target": recipe.target, "noise_conditioning": recipe.noise_conditioning}
        return {"network": to_dict(network), "learned_variance": recipe.learned_variance} | {
            name: to_dict(part) for name, part in parts.items()
        }

    if changed := recipe_differences(plain(before), plain(after)):
        raise ValueError(
            f"the weights of {after.init} are for another recipe ({', '.join(changed)}): train the recipe of that run, "
            f"as in limpid train {after.init} --init {after.init} --run NEW"
        )


def with_classes(
    tensors: dict[str, Tensor], about: CheckpointInfo, recipe: Recipe, names: tuple[str, ...]
) -> dict[str, Tensor]:
    """The tensors of a network for the classes `names`.

    If the classes differ from those of the weights, each begins as "no label": with the embedding of dropped labels, or
    if none were dropped with the mean over all classes. A network without classes has this embedding in its biases.
    """
    before = about.class_names if about.recipe.class_conditional else ()
    if before == names:
        return tensors
    if distributed.is_main_process():
        logger.info(f"its {len(before)} classes are replaced by {len(names)} others: each begins as no label")
    one_hot = isinstance(recipe.network, UNet) and recipe.network.details.one_hot
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith("embedding.labels.")}
    layer = "embedding.mlp.0" if one_hot else "embedding.mlp.2"
    size = others[f"{layer}.weight"].shape[1 if one_hot else 0]
    null = _null_embedding(tensors, about, one_hot) if before else torch.zeros(size)
    if names and one_hot:
        return others | {LABEL_TABLE: torch.zeros(size, len(names)), "embedding.labels.bias": null}
    if names:
        return others | {LABEL_TABLE: null.expand(len(names) + 1, -1).contiguous()}
    shift = others[f"{layer}.weight"] @ null if one_hot else null
    return others | {f"{layer}.bias": others[f"{layer}.bias"] + shift}


def _null_embedding(tensors: dict[str, Tensor], about: CheckpointInfo, one_hot: bool) -> Tensor:
    """The embedding of "no label": as it was trained, else the mean over the classes."""
    table, dropped = tensors[LABEL_TABLE], about.recipe.label_dropout > 0
    if one_hot:
        bias = tensors["embedding.labels.bias"]
        return bias if dropped else bias + math.sqrt(table.shape[1]) * table.mean(dim=1)
    return table[-1] if dropped else table[:-1].mean(dim=0)
