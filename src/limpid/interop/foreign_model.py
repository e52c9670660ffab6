"""A model that another program has trained, in the terms of limpid."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from limpid.data import Folder
from limpid.data.readers.fit import Channels
from limpid.diffusion.denoiser import NoiseConditioning, Timestep
from limpid.diffusion.samplers import Ancestral
from limpid.diffusion.schedules import LinearBeta, Schedule
from limpid.diffusion.targets import Eps, Target
from limpid.nets import UNet
from limpid.nets.norm import groups
from limpid.optim.ema import Ema
from limpid.optim.optimizers import AdamW
from limpid.recipes.recipe import Recipe, Sampling
from limpid.storage.checkpoint import Plain


@dataclass(frozen=True)
class ForeignOptions:
    """What the files of some programs do not say of their models."""

    size: int = 0
    """Height and width of the images, in pixels; 0 is what the file says, or the default of the program."""
    num_heads: int = 0
    """Attention heads (OpenAI's models; improved-diffusion has 4 by default)."""
    head_channels: int = 0
    """Channels of each attention head, in place of their number (guided-diffusion's released models: 64)."""
    new_attention_order: bool = False
    """guided-diffusion's --use_new_attention_order."""
    schedule: Schedule = LinearBeta()
    """The schedule of training, where the file does not say it."""
    rescale_timesteps: bool = True
    """improved-diffusion's --rescale_timesteps; with 1000 steps it changes nothing."""
    classes: tuple[str, ...] = ()
    """The names of the classes of a class-conditional model, in the order of its labels; if not given, their numbers.

    One name fewer than its table has rows: the last row stands for no label."""


@dataclass(frozen=True)
class ForeignModel:
    """A network, its weights, and how it was trained, as far as its files tell."""

    recipe: Recipe
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    tensors: Mapping[str, Mapping[str, Tensor]]
    """The tensors of the network by their names in limpid: "ema", and "raw" if the files hold those too."""
    metadata: Plain = field(default_factory=dict)
    """The metadata of limpid's own checkpoint, where the files are an export of one."""


def recipe_to_sample(network: UNet, *, conditional: bool, learned_variance: bool, schedule: Schedule) -> Recipe:
    """The recipe of a network that predicts the noise along a table of T steps, and is given the step.

    Data, optimizer and duration are for fine-tuning it on one's own images; they were not tuned.
    """
    T = getattr(schedule, "T", 0)
    if not T:
        raise ValueError(f"a schedule {schedule}: expected one of T steps")
    return fine_tuning_recipe(
        network,
        conditional=conditional,
        learned_variance=learned_variance,
        schedule=schedule,
        target=Eps(),
        noise_conditioning=Timestep(steps=T),
        sampling=Sampling(T, Ancestral("learned" if learned_variance else "large")),
    )


def fine_tuning_recipe(
    network: UNet,
    *,
    conditional: bool,
    learned_variance: bool,
    schedule: Schedule,
    target: Target,
    noise_conditioning: NoiseConditioning,
    sampling: Sampling,
) -> Recipe:
    """The recipe of a trained model: short, at a small learning rate, on images that are yet to be named."""
    return Recipe(
        duration=200_000,
        batch_size=32,
        data=Folder(),
        network=network,
        class_conditional=conditional,
        schedule=schedule,
        target=target,
        learned_variance=learned_variance,
        noise_conditioning=noise_conditioning,
        optimizer=AdamW(lr=5e-5, warmup_images=6_400),
        ema=Ema(halflife=11_000.0),
        sampling=sampling,
    )


def with_image_shape(recipe: Recipe, shape: tuple[int, int, int]) -> Recipe:
    """The recipe whose images, those that are yet to be named, are read in the shape that the network takes."""
    return replace(recipe, data=folder_of_shape(shape)) if recipe.data == Folder() else recipe


def folder_of_shape(shape: tuple[int, int, int]) -> Folder:
    """A folder of images, yet to be named, that are read in a shape of channels, height and width."""
    channels, height, width = shape
    modes: dict[int, Channels] = {1: "L", 3: "RGB", 4: "RGBA"}
    other_width = 0 if width == height else width
    return Folder(size=height, width=other_width, channels=modes.get(channels, channels))


def with_plain_groups(network: UNet) -> UNet:
    """The network with `norm_num_groups` 0 where that is the number of groups that its norms have anyway."""
    widths = [network.model_channels * multiple for multiple in network.channel_mult]
    norms = {*widths, *(a + b for a in widths for b in widths)}
    same = all(groups(channels) == network.norm_num_groups for channels in norms)
    return replace(network, norm_num_groups=0) if same else network
