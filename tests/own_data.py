"""Images as an array, an unconditional recipe for them, and a run that is stopped and resumed from Python."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_recipes import CPU, TINY
from torch import nn

from limpid.diffusion.guidance import Guidance
from limpid.recipes.recipe import Every, Recipe
from limpid.training.api import train
from limpid.training.callbacks import Callback
from limpid.training.loop import StepMetrics
from limpid.training.training import Training

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
UNCONDITIONAL: Recipe = replace(
    TINY,
    class_conditional=False,
    label_dropout=0.0,
    sampling=replace(TINY.sampling, guidance=Guidance(), steps=2),
    every=Every(log=32, sample=0, save=32),
)


class StopAt(Callback):
    """Presses Ctrl-C after this many images."""

    def __init__(self, images: int):
        self.images = images

    def on_step(self, step: StepMetrics, training: Training) -> None:
        if step.images_seen == self.images:
            signal.raise_signal(signal.SIGINT)


def train_in_two_parts(folder: Path, recipe: Recipe, data=None, network: nn.Module | None = None) -> None:
    """Train, stop after 48 images, and resume to the end."""
    with pytest.raises(KeyboardInterrupt, match="stopped after 48 images"):
        train(recipe, data, run=folder, network=network, callbacks=[StopAt(48)], runtime=CPU)
    train(recipe, data, run=folder, network=network, runtime=CPU)
