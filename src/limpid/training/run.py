"""A run in a folder: the training loop with callbacks that log, save, sample and score. The same call resumes it, and
it rolls back to its last good checkpoint if a loss or gradient was not finite."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from torch import nn

from limpid.data import DataSource
from limpid.evaluation.online import check_online_scoring
from limpid.recipes.recipe import Recipe, with_absolute_root
from limpid.recipes.serialize import to_dict
from limpid.runtime import distributed
from limpid.runtime.device import TrainingRuntime
from limpid.runtime.fsdp import full_tensor
from limpid.runtime.log import logger
from limpid.runtime.output import lossy_output
from limpid.sampling import figures
from limpid.sampling.checkpoints import load_info
from limpid.sampling.training_data import log_data, open_data
from limpid.storage import checkpoint
from limpid.storage.jsonl import JsonlLog
from limpid.storage.lock import exclusive
from limpid.storage.regular_files import refuse_linked_folders
from limpid.training.active_run import NonFiniteError, Run
from limpid.training.anomalies import NonFiniteMonitor, NonFiniteStep
from limpid.training.callbacks import Callback, CallbackList
from limpid.training.checkpointing import Checkpoints, EmaSnapshots
from limpid.training.first_preview import FirstPreview
from limpid.training.init_weights import InitialWeights, initial_weights
from limpid.training.loss_log import LossLog
from limpid.training.meter import LossMeter
from limpid.training.online_scores import OnlineScores
from limpid.training.preflight import preflight
from limpid.training.run_folder import (
    environment,
    failure_recorded,
    latest_of_run,
    new_run_id,
    read_run_id,
    remove_partial_files,
    with_previous_choices,
    write_data_once,
    write_json,
)
from limpid.training.same_run import check_no_rewarm, check_same_data, check_same_recipe
from limpid.training.sample_grids import SampleGrids
from limpid.training.state import init_state
from limpid.training.stop import stoppable
from limpid.training.training import Training

MAX_ROLLBACKS = 3
"""Batches that are skipped after the same checkpoint before a run with non-finite values is given up."""


@lossy_output()
def run(
    recipe: Recipe,
    folder: Path,
    runtime: TrainingRuntime,
    allow_rewarm: bool = False,
    callbacks: Sequence[Callback] = (),
) -> bool:
    """As `run_in_folder`, for a command: output that cannot be written is dropped. Returns whether the run finished."""
    return run_in_folder(recipe, folder, runtime, allow_rewarm, callbacks).finished


def run_in_folder(
    recipe: Recipe,
    folder: Path,
    runtime: TrainingRuntime,
    allow_rewarm: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Training:
    """Train `recipe` in `folder`, from its newest checkpoint if there is one, to the end or until asked to stop.

    A shorter run that has finished is extended if its learning rate is constant, or else with `allow_rewarm`. Raises
    ValueError if not, or if the folder is in use or holds a run of another recipe, FloatingPointError if skipping
    batches does not help against non-finite values, OSError if the weights cannot be written. With several processes
    each calls this; only the main process locks the folder and writes to it. Torch's settings and default generator are
    restored.
    """
    recipe, chosen = with_absolute_root(recipe), with_previous_choices(runtime, folder).resolve(recipe.duration)
    runtime = replace(chosen, threads=runtime.threads)  # 0 stays: sample grids may choose another number
    with chosen.settings():
        distributed.init(runtime.device)
        known = (folder / "recipe.json").exists()
        source = distributed.local_main_first(lambda: open_data(recipe.data, runtime.device, of_run=known))
        preflight(recipe, source.shape, len(source.class_names), runtime)  # before anything is written
        check_online_scoring(recipe, source)
        with exclusive(folder) if distributed.is_main_process() else nullcontext():
            with stoppable() as stop:  # from now on, so that a run that is asked to stop early lets its folder go
                current = open_run(recipe, folder, runtime, source, allow_rewarm, callbacks)
                current.stop = stop
                with failure_recorded(folder):
                    train_with_rollback(current)
            with failure_recorded(folder):
                if current.training.finished:
                    write_final_figures(current)
                else:
                    seen = current.state.images_seen
                    logger.info(f"stopped after {seen:,} images, and saved")
        return current.training


def open_run(
    recipe: Recipe,
    folder: Path,
    runtime: TrainingRuntime,
    source: DataSource,
    allow_rewarm: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """The run of a folder at its newest checkpoint, or a new one.

    Raises ValueError if the folder holds a run of another recipe, or without `allow_rewarm` a shorter run whose
    learning rate has decayed already.
    """
    if distributed.is_main_process():
        refuse_linked_folders(folder)
        check_same_recipe(recipe, folder)
    file = distributed.broadcast_object(lambda: latest_of_run(recipe, folder, read_run_id(folder)))
    initial = InitialWeights() if file else initial_weights(recipe, source)
    run_id = distributed.broadcast_object(
        lambda: (load_info(file).run_id if file else "") or new_run_id(recipe, initial.sha256)
    )
    if distributed.is_main_process() and file:
        about = load_info(file)
        check_same_data(recipe, folder, about, source)
        if not allow_rewarm:
            check_no_rewarm(recipe, folder, about.images_seen)
    state = init_state(recipe, source.shape, len(source.class_names), runtime, initial.tensors)
    current = Run(
        Training(recipe, source, state, runtime),
        folder,
        run_id,
        JsonlLog(folder / "log.jsonl"),
        LossMeter(runtime.device),
        NonFiniteMonitor(runtime.device),
    )
    checkpoints = Checkpoints(current)
    own = [LossLog(current), EmaSnapshots(current), checkpoints, SampleGrids(current), FirstPreview(current)]
    current.callbacks = CallbackList([*own, OnlineScores(current), *callbacks])
    if distributed.is_main_process():
        write_json(folder / "recipe.json", to_dict(recipe))
        write_json(folder / "environment.json", {"run_id": run_id} | environment(runtime))
        write_data_once(folder, recipe, source)
        remove_partial_files(folder)
        parameters = sum(weight.numel() for weight in state.model.parameters())
        log_data(recipe, source)
        logger.info(f"{folder}: {parameters:,} parameters, {recipe.duration:,} images, on {runtime}")
    if file:
        current.resume(file)
        if distributed.is_main_process():
            checkpoint.set_aside(file.parent, file)
            logger.info(f"resuming after {state.images_seen:,} images")
    else:
        if distributed.is_main_process():
            current.log.cut(0)
        checkpoints.save(
            last=True
        )  # shows now whether the disk can be written, and there is always one to roll back to
    return current


def train_with_rollback(current: Run) -> None:
    """Train to the end or until asked to stop; if a loss or gradient is not finite, roll back and skip that batch.

    Raises FloatingPointError if skipping `MAX_ROLLBACKS` batches after the same checkpoint did not help.
    """
    try:
        while (wrong := train_until_stopped(current)) is not None:
            rollback(current, wrong)
    finally:
        current.callbacks.on_end(current.training)


def train_until_stopped(current: Run) -> NonFiniteStep | None:
    """Train to the end or until asked to stop, calling the callbacks after each step; ends at a step with a non-finite
    loss or gradient, and returns the first such step."""
    try:
        current.callbacks.on_start(current.training)
        for step in current.training:
            current.callbacks.on_step(step, current.training)
            if current.stop_requested():
                Checkpoints(current).save(last=True)
                break
    except NonFiniteError as error:
        return error.wrong
    return None


def rollback(current: Run, wrong: NonFiniteStep) -> None:
    """Load the last good checkpoint, and skip the batch with the non-finite loss or gradient from now on.

    Raises FloatingPointError, and writes trouble.json, if `MAX_ROLLBACKS` batches after it are skipped already.
    """
    file = distributed.broadcast_object(current.newest_checkpoint)
    assert file is not None, "a run begins with a checkpoint"
    skipped, state = current.state.skipped_batches, current.state
    current.resume(file)
    skipped_since = [position for position in skipped if position >= state.data_position]
    if len(skipped_since) >= MAX_ROLLBACKS:
        norms = parameter_norms(state.model.net)
        report = {"checkpoint": str(file), "skipped_batches": skipped_since, **wrong._asdict(), "weights": norms}
        if distributed.is_main_process():
            write_json(current.folder / "trouble.json", report)
        what = f"{wrong}, although {len(skipped_since)} batches after {state.images_seen:,} images were skipped"
        raise FloatingPointError(
            f"{what}: the last good checkpoint is {file}, details are in {current.folder / 'trouble.json'}"
        )
    state.skipped_batches = (*skipped, wrong.data_position)
    Checkpoints(current).save()
    if distributed.is_main_process():
        logger.warning(f"{wrong}: back to {state.images_seen:,} images, skipping the batch at {wrong.data_position:,}")


def parameter_norms(net: nn.Module) -> dict[str, float]:
    """The norm of all weights in each part of a network."""
    return {
        name: sum(full_tensor(w.detach().square().sum()).item() for w in part.parameters()) ** 0.5
        for name, part in net.named_children()
    }


def write_final_figures(current: Run) -> None:
    """Generate the figures of the finished run, on the main process."""
    pipeline = current.training.live_pipeline()
    if not distributed.is_main_process():
        return
    with current.runtime.sampling_threads():
        for path in figures.final_figures(pipeline, current.folder):
            logger.info(f"  {path}")
