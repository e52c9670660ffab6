"""A run that takes a second: what tests train when they need something trained."""

from dataclasses import replace

from limpid.data import Digits
from limpid.diffusion.emphasis import LossMoment
from limpid.learning.machine import Machine
from limpid.nets import UNet
from limpid.recipe import Every, Recipe
from limpid.recipes import RECIPES

CPU = Machine("cpu", "float32").resolved()
TINY: Recipe = replace(
    RECIPES["demo"](),
    images=64,
    batch=16,
    data=Digits(size=8),
    network=UNet(width=16, multipliers=(1, 2), blocks=1, attention=(4,)),
    every=Every(log=64, sample=0, save=64),
)

# Everything that a run has to remember is on: dropout, averages of several lengths, moments and the size of the loss.
FULL: Recipe = replace(
    TINY,
    images=160,
    network=replace(TINY.network, dropout=0.1),
    snapshots=(0.05, 0.1),
    uncertainty=True,
    emphasis=LossMoment(bins=4),
    optimizer=replace(TINY.optimizer, rate=0.02, warmup=0),
    sampling=replace(TINY.sampling, steps=3),
    every=Every(log=32, sample=80, save=64, snapshot=32),
)
