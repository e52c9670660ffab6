"""A folder ready for the Hugging Face Hub: the model in half precision, its recipe, samples and card, and the files of
diffusers where a stock pipeline samples as the model does."""

import json
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from limpid.evaluation.card_facts import CardFacts, reports_of_weights, training_cost
from limpid.evaluation.model_card import model_card
from limpid.interop.diffusers_folder import (
    DIFFUSERS_FILES,
    check_own_folder,
    diffusers_reasons,
    pipeline_call,
    remove_diffusers_files,
    write_diffusers_folder,
)
from limpid.recipes.recipe import Sampling
from limpid.recipes.serialize import to_dict
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import CheckpointInfo, CheckpointRef, find_checkpoint, load_model, read_weights
from limpid.sampling.figures import preview_samples, save_sample_grid
from limpid.sampling.half_precision import save_half_precision
from limpid.sampling.labels import balanced_labels
from limpid.sampling.pipeline import load_checkpoint
from limpid.sampling.sample import noise_seed
from limpid.storage.atomic import atomic_write
from limpid.storage.hub import MODEL_FILE

CALL_SAMPLES = 4
"""Samples in the diffusers example on the card."""


class HubFolder(NamedTuple):
    """The files of the folder."""

    files: list[str]
    """The names of the files, with / below the folder."""
    diffusers_reasons: list[str]
    """Why there are no files of diffusers; empty if there are."""


def write_hub_folder(
    folder: Path,
    path: Path,
    ref: CheckpointRef,
    repo: str,
    sampling: Sampling,
    runtime: Runtime,
    licence: str = "",
    weights: Literal["ema", "raw"] = "ema",
) -> HubFolder:
    """Write the folder of the repository `repo`: the model of the checkpoint at `path`, with the settings `sampling`.

    Files of the same names are replaced, the card last; files of diffusers from an earlier export are removed where the
    model has none. Raises ValueError for a model that cannot be loaded or sampled elsewhere, and for a folder that is
    the model itself or holds one of diffusers by another program.
    """
    if folder.resolve() == ref.file.resolve():
        raise ValueError(f"{folder} is the model to export, and would be overwritten: choose another --out")
    check_own_folder(folder)
    about = save_half_precision(ref, folder / MODEL_FILE, sampling, weights)
    pipeline = load_checkpoint(find_checkpoint(folder / MODEL_FILE), runtime)
    samples = preview_samples(pipeline)
    save_sample_grid(samples, folder / "samples.png")
    with atomic_write(folder / "recipe.json") as part:
        part.write_text(json.dumps(to_dict(about.recipe), indent=2) + "\n", encoding="utf-8")
    call, reasons = _write_diffusers(folder, about, repo)
    facts = CardFacts(
        repo,
        about,
        sum(weight.numel() for weight in pipeline.model.net.parameters()),
        samples,
        licence,
        training_cost(path, about.images_seen),
        reports_of_weights(path, about.images_seen, weights),
        bool(ref.about.recipe.init),
        any(
            weight.is_floating_point() and weight.dtype != torch.float16
            for weight in read_weights(ref, weights).values()
        ),
        call,
    )
    with atomic_write(folder / "README.md") as part:
        part.write_text(model_card(facts), encoding="utf-8")
    own = ["README.md", MODEL_FILE, "recipe.json", "samples.png"]
    return HubFolder([*own, *([] if reasons else DIFFUSERS_FILES)], reasons)


def _write_diffusers(folder: Path, about: CheckpointInfo, repo: str) -> tuple[str, list[str]]:
    """Write the files of diffusers; the call that samples with them, or every reason why there are none."""
    recipe, shape, classes = about.recipe, about.image_shape, len(about.class_names)
    if reasons := diffusers_reasons(recipe, shape):
        remove_diffusers_files(folder)
        return "", reasons
    model = load_model(find_checkpoint(folder / MODEL_FILE), Runtime("cpu", "float32").resolve())
    tensors = {name: tensor.half() for name, tensor in model.net.state_dict().items()}
    mapping = write_diffusers_folder(folder, tensors, recipe, shape, classes, to_dict(about))
    labels = balanced_labels(CALL_SAMPLES, classes) if recipe.class_conditional else None
    seeds = [noise_seed(seed) for seed in range(CALL_SAMPLES)]
    return pipeline_call(mapping, Path(repo), seeds, labels), []
