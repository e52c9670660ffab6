"""How training's speed grows with the number of processes, by turns with the same threads in one process.

    python benchmarks/scaling.py [--processes 2] [--network cifar10-small] [--batches 32 128] [--quick]

Every contestant trains on the same batches: one process with one thread, one with as many threads as there are
processes, the processes with a thread each, and these with torch's DistributedDataParallel in place of limpid's own
all-reduce. On GPUs there are no threads to compare with. About two minutes for each batch.
"""

import argparse
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
import torch.distributed as dist
from paired import about, arguments, parse_options, save
from peers import Size, pixels, recipe_of
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from limpid.bench.timing import IsolatedWorker, Measurement, Work, time_interleaved
from limpid.data.images import ImageDataset
from limpid.diffusion.losses import denoising_loss
from limpid.recipes.recipe import Recipe
from limpid.runtime import distributed
from limpid.runtime.device import TrainingRuntime
from limpid.runtime.grad_sync import GradientSync
from limpid.training import accumulate
from limpid.training.accumulate import NoisyBatch
from limpid.training.loop import training_loop
from limpid.training.state import TrainState, init_state
from limpid.viz.plot import Curve, Panel, panels


@dataclass(frozen=True)
class Team:
    """Processes that train together."""

    name: str
    processes: int
    threads: int
    steps: Callable[..., Iterator[Any]]


def main() -> None:
    """Measure every batch, and write JSON and a plot."""
    parser = arguments(__doc__ or "", "scaling")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--network", choices=get_args(Size), default="cifar10-small")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128])
    options = parse_options(parser)
    if options.quick:
        options.batches = [2 * options.processes]
    found = {batch: measure_batch(batch, teams(options), options) for batch in options.batches}
    figures = [plain(batch, team, speeds) for batch, taken in found.items() for team, speeds in taken.items()]
    out = {"network": options.network, "teams": figures}
    save({"about": about(options.device), **out}, options.out)
    print(plot(found, options))


def teams(options: argparse.Namespace) -> list[Team]:
    """The teams that are compared; the first is the baseline."""
    n = options.processes
    found = [Team("1 process", 1, 1, training_loop), Team(f"{n} processes", n, 1, training_loop)]
    found.append(Team(f"{n} processes, DistributedDataParallel", n, 1, ddp_training_loop))
    if options.device == "cpu" and not options.quick:
        found.insert(1, Team(f"1 process, {n} threads", 1, n, training_loop))
    return found


def measure_batch(batch: int, every: list[Team], options: argparse.Namespace) -> dict[Team, Measurement]:
    """Images a second of each team, all by turns."""
    with ExitStack() as stack:
        clocks = {team.name: stack.enter_context(open_team(team, batch, options)) for team in every}
        taken = time_interleaved(clocks, options.rounds, options.seconds)
    speeds = {team: taken[team.name].per(batch) for team in every}
    for team, speed in speeds.items():
        ratio = speed.ratio(speeds[every[0]])
        low, high = ratio.quartiles
        times = f"{ratio.median:.2f} times ({low:.2f} .. {high:.2f})"
        print(f"batch {batch}, {team.name}: {speed.median:.4g} images/s, {times}", flush=True)
    return speeds


@contextmanager
def open_team(team: Team, batch: int, options: argparse.Namespace) -> Iterator[Callable[[int], float]]:
    """Start a team's processes. Yields a function from a number of steps to the seconds of the slowest process."""
    with ExitStack() as stack, socket.socket() as free, ThreadPoolExecutor(team.processes) as threads:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        given = [(team, rank, port, options.device, options.network, batch) for rank in range(team.processes)]
        members = [stack.enter_context(IsolatedWorker(options.device, member, *each)) for each in given]
        yield lambda count: max(threads.map(lambda one: one.time_seconds(count), members))


def member(team: Team, rank: int, port: int, device: str, network: Size, batch: int) -> Work:
    """A step of training in one process of a team."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": team.processes, "MASTER_PORT": port}
    os.environ |= {name: str(number) for name, number in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"}
    runtime = TrainingRuntime(device, threads=team.threads).resolve().setup()
    distributed.init(runtime.device)
    recipe, images = recipe_of(network, batch), pixels(4096)
    source = ImageDataset(images, torch.zeros(len(images), dtype=torch.int64)).to(runtime.device)
    state = init_state(recipe, source.shape, 0, runtime)
    return partial(next, team.steps(state, recipe, source, runtime))


class Objective(nn.Module):
    """The loss as a module, as DistributedDataParallel needs it."""

    def __init__(self, state: TrainState, recipe: Recipe):
        super().__init__()
        self.model, self.weight = state.model, recipe.loss_weighting

    def forward(self, part: NoisyBatch) -> Tensor:
        """The loss of each image."""
        return denoising_loss(self.model, part.x0, part.eps, part.level, part.labels, self.weight)


def ddp_training_loop(state: TrainState, recipe: Recipe, *given: Any) -> Iterator[Any]:
    """The steps of `training_loop`, with the gradients averaged by DistributedDataParallel."""
    state.grad_sync = GradientSync([])
    objective = DistributedDataParallel(Objective(state, recipe), gradient_as_bucket_view=True)

    def backward(_: TrainState, __: Recipe, part: NoisyBatch, share: float, runtime: TrainingRuntime) -> Tensor:
        with runtime.autocast():
            loss = objective(part)
        (dist.get_world_size() * share * (loss * part.importance_weight).mean()).backward()
        return loss.detach()

    accumulate.loss_and_backward = backward
    return training_loop(state, recipe, *given)


def plain(batch: int, team: Team, speed: Measurement) -> dict[str, Any]:
    """The fields for JSON."""
    fields = {"name": team.name, "processes": team.processes, "threads": team.threads, "batch": batch}
    return fields | {"images_per_second": speed.median, "turns": speed.rounds}


def plot(found: dict[int, dict[Team, Measurement]], options: argparse.Namespace) -> Path:
    """Plot speed against the batch, a curve for each team."""
    names = list(next(iter(found.values())))
    curves = [Curve(team.name, list(found), [taken[team].median for taken in found.values()]) for team in names]
    path = options.out.with_name(f"{options.out.name}-{options.network}.png")
    return panels([Panel(curves, x="batch", y="images a second")], path)


if __name__ == "__main__":
    main()
