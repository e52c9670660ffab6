"""A training run in memory: recipe, data and state, and the loop as an iterable of steps."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from limpid.data import DataSource
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.runtime import distributed
from limpid.runtime.device import TrainingRuntime
from limpid.runtime.fsdp import gather_full
from limpid.sampling.pipeline import Pipeline
from limpid.training.loop import StepMetrics, training_loop
from limpid.training.state import TrainState


@dataclass
class Training:
    """A training run whose loop is the caller's: `for step in training: ...` makes one step at a time."""

    recipe: Recipe
    source: DataSource
    state: TrainState
    runtime: TrainingRuntime

    def __iter__(self) -> Iterator[StepMetrics]:
        """The metrics of each step, from the current state to the end of the recipe's duration."""
        return training_loop(self.state, self.recipe, self.source, self.runtime)

    @property
    def finished(self) -> bool:
        """Whether the run has reached the duration of its recipe."""
        return self.state.images_seen >= self.recipe.duration

    def pipeline(self) -> Pipeline:
        """The EMA network as it is now, to sample from; later steps do not change it."""
        pipeline = self.live_pipeline()
        return copy.deepcopy(pipeline) if pipeline.model is self.state.ema else pipeline

    def live_pipeline(self) -> Pipeline:
        """The EMA network without a copy: it changes with the next step. Gathered on the main process if sharded."""
        ema, shape, names = self.state.ema, self.source.shape, self.source.class_names
        if self.runtime.fsdp:
            tensors = gather_full(ema.net.state_dict())
            if distributed.is_main_process():
                with torch.random.fork_rng(devices=[]):  # weights are initialized, and then replaced
                    ema = self.runtime.to_device(build_denoiser(self.recipe, shape, len(names))).eval()
                ema.net.load_state_dict(tensors)
        names, counts = (names, self.source.class_counts) if self.recipe.class_conditional else ((), ())
        return Pipeline(ema, self.recipe, shape, names, self.state.images_seen, counts, self.runtime)
