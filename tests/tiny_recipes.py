"""A run that takes a second: what tests train when they need something trained."""

from dataclasses import replace

from limpid.data import Digits
from limpid.diffusion.level_sampling import LossSecondMoment
from limpid.nets import UNet
from limpid.recipes.recipe import Every, Recipe
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import TrainingRuntime

CPU = TrainingRuntime("cpu", "float32").resolve()
TINY: Recipe = replace(
    RECIPES["demo"](),
    duration=64,
    batch_size=16,
    data=Digits(size=8),
    network=UNet(model_channels=16, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(4,)),
    sampling=replace(RECIPES["demo"]().sampling, steps=3),
    every=Every(log=64, sample=0, save=64),
)

# Eight steps without warm-up; a line of the log and a checkpoint after every second step.
SHORT: Recipe = replace(
    TINY,
    duration=128,
    sampling=replace(TINY.sampling, steps=2),
    optimizer=replace(TINY.optimizer, warmup_images=0),
    every=Every(log=32, sample=0, save=32, snapshot=0),
)

# As SHORT, with half the lines in the log.
LOGGED_TWICE: Recipe = replace(SHORT, every=replace(SHORT.every, log=64))

# All state that a run has to save is on: dropout, EMAs of several lengths, loss moments and uncertainty weighting.
FULL: Recipe = replace(
    TINY,
    duration=160,
    network=replace(TINY.network, dropout=0.1),
    ema_snapshots=(0.05, 0.1),
    uncertainty_weighting=True,
    level_sampler=LossSecondMoment(bins=4),
    optimizer=replace(TINY.optimizer, lr=0.02, warmup_images=0),
    sampling=replace(TINY.sampling, steps=2),
    every=Every(log=32, sample=80, save=64, snapshot=32),
)
