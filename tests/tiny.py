"""A run that takes a second: what tests train when they need something trained."""

from dataclasses import replace

from limpid.data import Digits
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
