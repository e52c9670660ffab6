"""Training from Python: `train` to the end, or `train_steps` for a loop of your own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, get_args

from torch import nn

from limpid.data import Cifar10, Data, Digits, Folder, InMemory, images_from_python
from limpid.data.in_memory import PythonImages
from limpid.nets import own_network
from limpid.recipes.recipe import Recipe, with_absolute_root, with_root
from limpid.runtime.device import Runtime, TrainingRuntime
from limpid.runtime.log import warnings_once
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.training_data import log_data, open_data
from limpid.training.anomalies import NonFiniteMonitor
from limpid.training.callbacks import Callback, CallbackList, crosses_multiple
from limpid.training.init_weights import initial_weights
from limpid.training.preflight import preflight
from limpid.training.progress import TrainingProgress, in_notebook
from limpid.training.run import run_in_folder
from limpid.training.state import init_state
from limpid.training.training import Training

DataLike: TypeAlias = str | Path | Data | PythonImages
"""The data that `train` takes: the path of a folder or file of images, a data set of a recipe, or images in memory."""


@warnings_once()
def train(
    recipe: Recipe,
    data: DataLike | None = None,
    *,
    run: Path | str | None = None,
    network: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
    runtime: Runtime | None = None,
    progress: bool | None = None,
) -> Pipeline:
    """Train a recipe to its end, and return the EMA network, to sample from.

    `data` and `network`, a module called as net(x, c_noise, labels), replace those of the recipe; a copy of the module
    is trained. With a `run` folder the run is logged and saved there, and the same call resumes it bit for bit; Ctrl-C
    saves and raises KeyboardInterrupt. Without one nothing is written, and no signal handler is changed. Raises
    ValueError for a recipe that cannot be trained, FloatingPointError if a loss or gradient is not finite; with a run
    folder such batches are skipped first, up to three after each checkpoint. `progress` prints a line that is updated;
    None does so in a notebook only.
    """
    if in_notebook() if progress is None else progress:
        callbacks = [*callbacks, TrainingProgress()]
    recipe, runtime = with_own_parts(recipe, data, network), TrainingRuntime.from_runtime(runtime)
    if run is not None:
        training = run_in_folder(recipe, Path(run), runtime, callbacks=callbacks)
        if not training.finished:
            raise KeyboardInterrupt(f"stopped after {training.state.images_seen:,} images, and saved in {run}")
        return training.live_pipeline()
    training = train_steps(recipe, runtime=runtime)
    with training.runtime.settings():
        train_to_end(training, CallbackList(callbacks))
    return training.live_pipeline()


def train_steps(
    recipe: Recipe,
    data: DataLike | None = None,
    *,
    network: nn.Module | None = None,
    runtime: Runtime | None = None,
) -> Training:
    """A training run whose loop is yours: `for step in train_steps(recipe): ...` makes one step at a time.

    `data` and `network` as in `train`. Raises ValueError for a recipe that cannot be trained.
    """
    recipe = with_own_parts(recipe, data, network)
    chosen = TrainingRuntime.from_runtime(runtime).resolve(recipe.duration)
    source = open_data(recipe.data, chosen.device, of_run=False)
    preflight(recipe, source.shape, len(source.class_names), chosen)
    log_data(recipe, source)
    initial = initial_weights(recipe, source).tensors
    return Training(recipe, source, init_state(recipe, source.shape, len(source.class_names), chosen, initial), chosen)


def with_own_parts(recipe: Recipe, data: DataLike | None, network: nn.Module | None) -> Recipe:
    """The recipe with this data and network in place of its own."""
    if data is not None:
        recipe = replace(recipe, data=data_from(data, recipe.data))
    if network is not None:
        recipe = replace(recipe, network=own_network(network))
    return with_absolute_root(recipe)


def data_from(data: DataLike, current: Data) -> Data:
    """The data that a path names or an object holds. With a path the other options of the recipe's `Folder` stay."""
    if isinstance(data, str | Path):
        return with_root(current if isinstance(current, Folder) else Folder(), str(data))
    if isinstance(data, Cifar10 | Digits | Folder | InMemory):
        return data
    if not isinstance(data, get_args(PythonImages)):
        raise ValueError(f"data is a {type(data).__name__}: expected a path, or images as an array, tensor or Dataset")
    return images_from_python(data)


def train_to_end(training: Training, callbacks: CallbackList) -> None:
    """Train to the end. Raises FloatingPointError if a loss or gradient is not finite."""
    recipe, monitor = training.recipe, NonFiniteMonitor(training.runtime.device)
    callbacks.on_start(training)
    try:
        for step in training:
            monitor.check(step.data_position, step.loss, step.logsnr, step.grad_norm)
            callbacks.on_step(step, training)
            due = crosses_multiple(step.images_seen, recipe.batch_size, recipe.every.log) or training.finished
            if due and (wrong := monitor.read()):
                raise FloatingPointError(
                    f"{wrong}, at image {wrong.data_position:,}: train with a run folder to skip it"
                )
    finally:
        callbacks.on_end(training)
