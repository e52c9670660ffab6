"""The loop around `train`: it logs, draws, saves, stops when asked, and goes back where numbers went wrong."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from torch import nn

from limpid.evaluation import online
from limpid.recipes.recipe import Recipe, with_absolute_root
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.fsdp import full_tensor
from limpid.runtime.log import warn
from limpid.runtime.output import lossy_output
from limpid.runtime.terminal import echo
from limpid.sampling import figures
from limpid.sampling.training_data import open_data
from limpid.storage.lock import exclusive
from limpid.training.anomalies import NonFiniteStep
from limpid.training.loop import train
from limpid.training.preflight import preflight
from limpid.training.progress import ProgressDisplay, StopRequest, stoppable
from limpid.training.run_folder import NonFiniteError, Run, open_run, previous_threads, write_json

MAX_ROLLBACKS = 3
"""Batches that are left out after one checkpoint before a run whose numbers go wrong is given up."""


@lossy_output()
def run(recipe: Recipe, folder: Path, runtime: Runtime, allow_rewarm: bool = False) -> bool:
    """Train `recipe` in `folder`, from its newest checkpoint if there is one; whether it came to its end.

    A run of fewer images is made longer where its learning rate is constant, or else with `allow_rewarm`. Raises
    ValueError if not, or if the folder is in use or holds a run of another recipe, FloatingPointError if the numbers
    went wrong again and again, OSError if what it has learnt cannot be written. What it prints may be lost. Of many
    processes each calls this; the first alone holds the folder and writes to it. Torch's settings are afterwards as
    they were, its default generator too.
    """
    recipe, runtime = with_absolute_root(recipe), runtime.resolved(recipe.duration)
    with replace(runtime, threads=runtime.threads or previous_threads(folder)).settings():
        return came_to_its_end(recipe, folder, runtime, allow_rewarm)


def came_to_its_end(recipe: Recipe, folder: Path, runtime: Runtime, allow_rewarm: bool) -> bool:
    """As `run`, under torch's settings of now."""
    distributed.init(runtime.device)
    source = distributed.local_main_first(lambda: open_data(recipe.data, runtime.device))
    preflight(recipe, source.shape, len(source.class_names), runtime)  # before anything is written
    online.check_online_scoring(recipe, source)
    with exclusive(folder) if distributed.is_main_process() else nullcontext():
        now = open_run(recipe, folder, runtime, source, allow_rewarm)
        if not train_with_rollback(now):
            echo(f"stopped after {now.state.images_seen:,} images, and saved: the same command goes on from there")
            return False
        echo("drawing what it has learnt")
        pipeline = now.ema_pipeline()
        with now.runtime.sampling_threads():
            for path in figures.final_figures(pipeline, folder) if distributed.is_main_process() else ():
                echo(f"  {path}")
        return True


def train_with_rollback(now: Run) -> bool:
    """Train as `follow` does; where numbers went wrong, go back and on without the batch at which that began.

    Raises FloatingPointError if `PATIENCE` batches left out after the same checkpoint did not help.
    """
    with stoppable() as stop:
        while True:
            try:
                return run_loop(now, stop)
            except NonFiniteError as error:
                rollback(now, error.wrong)


def run_loop(now: Run, stop: StopRequest) -> bool:
    """Train to the end or until asked to stop, logging, drawing and saving on the way; whether it came to the end."""
    recipe, every = now.recipe, now.recipe.every
    now.speed_mark = now.state.images_seen, now.clock()

    def asked() -> bool:
        return distributed.any_rank(stop.requested)

    with ProgressDisplay(recipe.duration, now.state.images_seen) as display:
        if crossed(now.state.images_seen, recipe.batch_size, every.sample) and distributed.broadcast_object(
            lambda: not now.grid.exists()
        ):
            now.draw_samples(stop)  # it was asked to stop before it had drawn this
        if crossed(now.state.images_seen, recipe.batch_size, every.score) and distributed.broadcast_object(
            lambda: not now.has_score
        ):
            now.score(stop)
        for report in train(now.state, recipe, now.source, now.runtime):
            now.record(report)
            display.advance(report.images_seen)
            ended = report.images_seen >= recipe.duration
            if crossed(report.images_seen, recipe.batch_size, every.log) or ended:
                display.tell(report.images_seen, *now.log_line(report))
            if crossed(report.images_seen, recipe.batch_size, every.snapshot) or ended:
                now.save_ema_snapshots()
            if any(crossed(report.images_seen, recipe.batch_size, n) for n in (every.save, every.milestone)) or ended:
                now.save(last=ended)  # before it draws: nothing that goes wrong there may cost what was learnt
            if crossed(report.images_seen, recipe.batch_size, every.sample) and not asked():
                now.draw_samples(stop)
            if crossed(report.images_seen, recipe.batch_size, every.score) and not asked():
                now.score(stop)
            if asked():
                now.save(last=True)
                break
    return now.state.images_seen >= recipe.duration


def crossed(seen: int, batch: int, period: int) -> bool:
    """Whether the last batch took the count of images to or past a multiple of `period`; 0 is never."""
    return period > 0 and seen // period > max(seen - batch, 0) // period


def rollback(now: Run, wrong: NonFiniteStep) -> None:
    """Put a run back to its last good checkpoint, to go on without the batch where numbers went wrong.

    Raises FloatingPointError, and writes a report, if that was done `PATIENCE` times from there already.
    """
    file = distributed.broadcast_object(now.newest)
    assert file is not None, "a run begins with a checkpoint"
    left_out, state = now.state.skipped_batches, now.state
    now.resume(file)
    lately = [place for place in left_out if place >= state.data_position]
    if len(lately) >= MAX_ROLLBACKS:
        report = {
            "checkpoint": str(file),
            "left_out": lately,
            **wrong._asdict(),
            "weights": parameter_norms(state.model.net),
        }
        if distributed.is_main_process():
            write_json(now.folder / "trouble.json", report)
        what = f"{wrong}, whatever batch is left out after {state.images_seen:,} images"
        raise FloatingPointError(
            f"{what}: the last good checkpoint is {file}, more is in {now.folder / 'trouble.json'}"
        )
    state.skipped_batches = (*left_out, wrong.place)
    now.save()
    if distributed.is_main_process():
        warn(f"{wrong}: back to {state.images_seen:,} images, and on without the batch at {wrong.place:,}")


def parameter_norms(net: nn.Module) -> dict[str, float]:
    """How large the weights of each part of a network are together."""
    return {
        name: sum(full_tensor(w.detach().square().sum()).item() for w in part.parameters()) ** 0.5
        for name, part in net.named_children()
    }
