"""Small models whose weights are all random, in a file of limpid."""

from dataclasses import replace
from pathlib import Path

import torch

from limpid.diffusion.denoiser import LogSigma, Timestep
from limpid.diffusion.schedules import Cosine, LinearBeta, LogNormal
from limpid.diffusion.targets import Edm
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import Runtime
from limpid.sampling.pipeline import Pipeline

NAMES = ("cat", "dog", "owl")

SMALL = UNet(32, (1, 2), 1, (4,), dropout=0.0, norm_num_groups=8)
IDDPM = replace(SMALL, scale_shift=True, head_channels=16, arch="iddpm")
DEMO = RECIPES["demo"]().network
NETWORKS = {
    "ddpm": SMALL,
    "iddpm": IDDPM,
    "adm": replace(SMALL, scale_shift=True, head_channels=8, resample="biggan"),
    "wide": replace(SMALL, channel_mult=(2, 2), resample="biggan"),
    "wide iddpm": replace(IDDPM, channel_mult=(3, 2)),
}

EXACT = Runtime("cpu", "float32")
EPS = Recipe(network=SMALL, schedule=LinearBeta(T=40, beta_end=0.6), noise_conditioning=Timestep(steps=40))
EDM = replace(EPS, schedule=LogNormal(), target=Edm(), noise_conditioning=LogSigma())
LEARNED = replace(
    EPS,
    network=IDDPM,
    schedule=Cosine(T=2000),
    noise_conditioning=Timestep(steps=2000, rescale_timesteps=True),
    learned_variance=True,
)


def random_pipeline(
    recipe: Recipe, shape: tuple[int, int, int] = (3, 8, 8), class_names: tuple[str, ...] = NAMES
) -> Pipeline:
    """A model of a recipe, of whose weights every one changes the samples."""
    torch.manual_seed(1)
    names = class_names if recipe.class_conditional else ()
    model = build_denoiser(recipe, shape, len(names))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return Pipeline(model.eval(), recipe, shape, names)


def saved_model(folder: Path, recipe: Recipe, shape: tuple[int, int, int] = (3, 8, 8)) -> str:
    """The file of such a model."""
    return str(random_pipeline(recipe, shape).save(folder / "checkpoints" / "model.safetensors"))
