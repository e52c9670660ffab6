"""What a recipe costs on a machine: time, arithmetic and memory of a training step and of a look of its network."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch

from limpid.data import Cifar10, Source
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.schedules import grid
from limpid.learning import cpu
from limpid.learning.machine import Machine
from limpid.recipe import Recipe, build
from limpid.sample import denoise_with, noise_of
from limpid.timing import Apart, Figure, Work, clock, fastest, side_by_side
from limpid.train import start, train

ENDLESS = 2**62
"""Images of a run that does not end while it is measured."""


@dataclass(frozen=True)
class Cost:
    """What one kind of work costs, done for a batch at a time."""

    batch: int
    seconds: Figure
    """For one batch."""
    operations: int
    """Floating-point operations for one picture, in matrix products and convolutions."""
    bytes: int
    """Of memory at the peak."""

    @property
    def speed(self) -> Figure:
        """Pictures a second."""
        return self.seconds.per(self.batch)

    @property
    def rate(self) -> float:
        """Floating-point operations a second."""
        return self.operations * self.speed.median


@dataclass(frozen=True)
class Bench:
    """What a recipe costs on a machine, and what that machine can do at best."""

    machine: str
    processor: str
    parameters: int
    costs: dict[str, Cost]
    peaks: dict[str, float]
    """Floating-point operations a second of the work that the device does best, in the precision of the network."""

    @property
    def peak(self) -> float:
        """The most that was seen of the device."""
        return max(self.peaks.values())


Kind: TypeAlias = Callable[[Recipe, Machine], Work]


def training(recipe: Recipe, machine: Machine) -> Work:
    """A step of training, from the data on."""
    machine = machine.resolved().configure_process()
    source = source_of(recipe, machine.device)
    state = start(recipe, source.shape, len(source.names), machine)
    return partial(next, train(state, replace(recipe, images=ENDLESS), source, machine))


def source_of(recipe: Recipe, device: str) -> Source:
    """The recipe's data; in the place of those that would be downloaded random ones, which take the same time."""
    return recipe.data.random(device) if isinstance(recipe.data, Cifar10) else recipe.data.open(device)


def looking(recipe: Recipe, machine: Machine) -> Work:
    """One look of the network at a batch of noisy pictures, as samplers take it at each step; without guidance."""
    machine, source = machine.resolved().configure_process(), source_of(recipe, "cpu")
    recipe = replace(recipe, sampling=replace(recipe.sampling, guidance=Guidance()))
    model = machine.place(build(recipe, source.shape, len(source.names))).eval()
    if machine.compile is True:
        model.net.compile()
    labels = torch.zeros(recipe.batch, dtype=torch.int64, device=machine.device) if recipe.conditional else None
    level = grid(recipe.sampling_schedule, 2)[1]
    x = level.sigma * noise_of(range(recipe.batch), source.shape, machine.device)()
    return partial(denoise_with(model, recipe, labels, machine), x, level)


KINDS: dict[str, Kind] = {"train": training, "sample": looking}


def bench(recipe: Recipe, machine: Machine, rounds: int, seconds: float) -> Bench:
    """Measure `recipe` on a resolved machine: eager, and compiled besides if the machine says so, all by turns."""
    ways = {"eager": replace(machine, compile=False)} | ({"compiled": machine} if machine.compile is True else {})
    best = fastest(machine.device, torch.bfloat16 if machine.precision == "bfloat16" else torch.float32)
    with ExitStack() as stack:
        apart = {
            (name, way): stack.enter_context(Apart(machine.device, kind, recipe, on))
            for way, on in ways.items()
            for name, kind in KINDS.items()
        }
        operations = {name: apart[name, "eager"].arithmetic() // recipe.batch for name in KINDS}
        clocks = {", ".join(key): work.lasting for key, work in apart.items()}
        clocks |= {name: clock(work, machine.device) for name, (work, _) in best.items()}
        taken = side_by_side(clocks, rounds, seconds)
        costs = {
            f"{name}, {way}": Cost(recipe.batch, taken[f"{name}, {way}"], operations[name], work.memory())
            for (name, way), work in apart.items()
        }
    peaks = {name: count / taken[name].median for name, (_, count) in best.items()}
    return Bench(str(machine), processor(machine.device), parameters(recipe), costs, peaks)


def parameters(recipe: Recipe) -> int:
    """The weights of the recipe's network."""
    source = source_of(recipe, "cpu")
    with torch.device("meta"):
        model = build(recipe, source.shape, len(source.names))
    return sum(weight.numel() for weight in model.parameters())


def processor(device: str) -> str:
    """What computes, by its name."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu.model() or device


def plain(bench: Bench) -> dict[str, Any]:
    """A bench as JSON holds it: seconds of every turn, bytes, operations for a picture, operations a second."""
    costs = {
        name: {
            "batch": cost.batch,
            "seconds": list(cost.seconds.turns),
            "images_per_second": cost.speed.median,
            "operations": cost.operations,
            "share_of_peak": cost.rate / bench.peak,
            "bytes": cost.bytes,
        }
        for name, cost in bench.costs.items()
    }
    about = {"machine": bench.machine, "processor": bench.processor, "torch": torch.__version__}
    return about | {"parameters": bench.parameters, "costs": costs, "peaks": bench.peaks}


def table(bench: Bench) -> str:
    """A bench as a person reads it."""
    names = f"{'ms':>9}{'GFLOP':>8}{'GFLOP/s':>9}{'of peak':>9}{'memory':>10}"
    head = f"  {'':18}{'images/s':>10}{'half of the turns':>20}{names}"
    lines = [f"{bench.parameters:,} parameters, on {bench.processor}", "", head]
    for name, cost in bench.costs.items():
        low, high = cost.speed.quartiles
        figures = f"{cost.speed.median:>10,.4g}{f'{low:,.4g} .. {high:,.4g}':>20}{1000 * cost.seconds.median:>9,.4g}"
        figures += f"{cost.operations / 1e9:>8.3g}{cost.rate / 1e9:>9,.4g}{cost.rate / bench.peak:>9.1%}"
        lines.append(f"  {name:18}{figures}{cost.bytes / 1e9:>7.2f} GB")
    lines += ["", "ms: for a batch; GFLOP: for a picture; the device at its best:"]
    return "\n".join([*lines, *(f"  {name}: {rate / 1e9:,.0f} GFLOP/s" for name, rate in bench.peaks.items())])
