"""The model that tests export to ONNX."""

from dataclasses import replace

from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Heun
from limpid.diffusion.schedules import Karras
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.registry import RECIPES

SEEDS, SHAPE = (5, 6, 7), (1, 8, 8)
SAMPLING = Sampling(4, Heun(), Karras(sigma_min=0.05), guidance=Guidance(2.0, sigma_lo=0.3, rescale=0.5))
UNET = UNet(model_channels=8, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(), dropout=0.0)
RECIPE: Recipe = replace(RECIPES["demo"](), network=UNET, sampling=SAMPLING)
