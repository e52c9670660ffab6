"""The loop around `train`: it logs, draws, saves, stops when asked, and goes back where numbers went wrong."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from torch import nn

from limpid import gauge, show
from limpid.folder import Diverged, Run, opened, threads_of, write
from limpid.learning import parallel
from limpid.learning.lock import alone
from limpid.learning.machine import Machine
from limpid.learning.output import lossy_output
from limpid.learning.progress import Display, Stop, stoppable
from limpid.learning.sharding import full
from limpid.learning.warning import warn
from limpid.learning.watch import Wrong
from limpid.provenance import open_data
from limpid.recipe import Recipe, placed
from limpid.rehearsal import rehearse
from limpid.terminal import echo
from limpid.train import train

PATIENCE = 3
"""Batches that are left out after one checkpoint before a run whose numbers go wrong is given up."""


@lossy_output()
def run(recipe: Recipe, folder: Path, machine: Machine, allow_rewarm: bool = False) -> bool:
    """Train `recipe` in `folder`, from its newest checkpoint if there is one; whether it came to its end.

    A run of fewer images is made longer where its learning rate is constant, or else with `allow_rewarm`. Raises
    ValueError if not, or if the folder is in use or holds a run of another recipe, FloatingPointError if the numbers
    went wrong again and again, OSError if what it has learnt cannot be written. What it prints may be lost. Of many
    processes each calls this; the first alone holds the folder and writes to it. Torch's settings are afterwards as
    they were, its default generator too.
    """
    recipe, machine = placed(recipe), machine.resolved(recipe.images)
    with replace(machine, threads=machine.threads or threads_of(folder)).settings():
        return came_to_its_end(recipe, folder, machine, allow_rewarm)


def came_to_its_end(recipe: Recipe, folder: Path, machine: Machine, allow_rewarm: bool) -> bool:
    """As `run`, under torch's settings of now."""
    parallel.join(machine.device)
    source = parallel.one_before(lambda: open_data(recipe.data, machine.device))
    rehearse(recipe, source.shape, len(source.names), machine)  # before anything is written
    gauge.check(recipe, source)
    with alone(folder) if parallel.first() else nullcontext():
        now = opened(recipe, folder, machine, source, allow_rewarm)
        if not persevered(now):
            echo(f"stopped after {now.state.seen:,} images, and saved: the same command goes on from there")
            return False
        echo("drawing what it has learnt")
        trained = now.trained()
        with now.machine.sampling_threads():
            for path in show.results(trained, folder, now.machine) if parallel.first() else ():
                echo(f"  {path}")
        return True


def persevered(now: Run) -> bool:
    """Train as `follow` does; where numbers went wrong, go back and on without the batch at which that began.

    Raises FloatingPointError if `PATIENCE` batches left out after the same checkpoint did not help.
    """
    with stoppable() as stop:
        while True:
            try:
                return follow(now, stop)
            except Diverged as error:
                go_back(now, error.wrong)


def follow(now: Run, stop: Stop) -> bool:
    """Train to the end or until asked to stop, logging, drawing and saving on the way; whether it came to the end."""
    recipe, every = now.recipe, now.recipe.every
    now.since = now.state.seen, now.clock()

    def asked() -> bool:
        return parallel.any_of(stop.asked)

    with Display(recipe.images, now.state.seen) as display:
        if passes(now.state.seen, recipe.batch, every.sample) and parallel.told(lambda: not now.grid.exists()):
            now.draw(stop)  # it was asked to stop before it had drawn this
        if passes(now.state.seen, recipe.batch, every.score) and parallel.told(lambda: not now.scored):
            now.score(stop)
        for report in train(now.state, recipe, now.source, now.machine):
            now.note(report)
            display.advance(report.seen)
            ended = report.seen >= recipe.images
            if passes(report.seen, recipe.batch, every.log) or ended:
                display.tell(report.seen, *now.tell(report))
            if passes(report.seen, recipe.batch, every.snapshot) or ended:
                now.keep()
            if any(passes(report.seen, recipe.batch, n) for n in (every.save, every.milestone)) or ended:
                now.save(last=ended)  # before it draws: nothing that goes wrong there may cost what was learnt
            if passes(report.seen, recipe.batch, every.sample) and not asked():
                now.draw(stop)
            if passes(report.seen, recipe.batch, every.score) and not asked():
                now.score(stop)
            if asked():
                now.save(last=True)
                break
    return now.state.seen >= recipe.images


def passes(seen: int, batch: int, period: int) -> bool:
    """Whether the last batch took the count of images to or past a multiple of `period`; 0 is never."""
    return period > 0 and seen // period > max(seen - batch, 0) // period


def go_back(now: Run, wrong: Wrong) -> None:
    """Put a run back to its last good checkpoint, to go on without the batch where numbers went wrong.

    Raises FloatingPointError, and writes a report, if that was done `PATIENCE` times from there already.
    """
    file = parallel.told(now.newest)
    assert file is not None, "a run begins with a checkpoint"
    left_out, state = now.state.left_out, now.state
    now.resume(file)
    lately = [place for place in left_out if place >= state.place]
    if len(lately) >= PATIENCE:
        report = {"checkpoint": str(file), "left_out": lately, **wrong._asdict(), "weights": norms(state.model.net)}
        if parallel.first():
            write(now.folder / "trouble.json", report)
        what = f"{wrong}, whatever batch is left out after {state.seen:,} images"
        raise FloatingPointError(
            f"{what}: the last good checkpoint is {file}, more is in {now.folder / 'trouble.json'}"
        )
    state.left_out = (*left_out, wrong.place)
    now.save()
    if parallel.first():
        warn(f"{wrong}: back to {state.seen:,} images, and on without the batch at {wrong.place:,}")


def norms(net: nn.Module) -> dict[str, float]:
    """How large the weights of each part of a network are together."""
    return {
        name: sum(full(w.detach().square().sum()).item() for w in part.parameters()) ** 0.5
        for name, part in net.named_children()
    }
