"""What a recipe costs on a machine: time, arithmetic and memory of a training step and of a look of its network."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch

from limpid.bench.timing import IsolatedWorker, Measurement, Work, clock, interleaved, peak_kernels
from limpid.data import Cifar10, DataSource
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.schedules import sampling_levels
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.runtime import cpu
from limpid.runtime.device import Runtime
from limpid.sampling.sample import make_denoiser, seeded_noise
from limpid.training.loop import training_loop
from limpid.training.state import init_state

UNBOUNDED = 2**62
"""Images of a run that does not end while it is measured."""


@dataclass(frozen=True)
class StepCost:
    """What one kind of work costs, done for a batch at a time."""

    batch: int
    seconds: Measurement
    """For one batch."""
    flops: int
    """Floating-point operations for one picture, in matrix products and convolutions."""
    peak_memory: int
    """Of memory at the peak."""

    @property
    def speed(self) -> Measurement:
        """Pictures a second."""
        return self.seconds.per(self.batch)

    @property
    def flops_per_second(self) -> float:
        """Floating-point operations a second."""
        return self.flops * self.speed.median


@dataclass(frozen=True)
class BenchResult:
    """What a recipe costs on a machine, and what that machine can do at best."""

    runtime: str
    processor: str
    parameters: int
    costs: dict[str, StepCost]
    peaks: dict[str, float]
    """Floating-point operations a second of the work that the device does best, in the precision of the network."""

    @property
    def peak(self) -> float:
        """The most that was seen of the device."""
        return max(self.peaks.values())


Kind: TypeAlias = Callable[[Recipe, Runtime], Work]


def training_step(recipe: Recipe, runtime: Runtime) -> Work:
    """A step of training, from the data on."""
    runtime = runtime.resolved().configure_process()
    source = source_of(recipe, runtime.device)
    state = init_state(recipe, source.shape, len(source.class_names), runtime)
    return partial(next, training_loop(state, replace(recipe, duration=UNBOUNDED), source, runtime))


def source_of(recipe: Recipe, device: str) -> DataSource:
    """The recipe's data; in the place of those that would be downloaded random ones, which take the same time."""
    return recipe.data.random(device) if isinstance(recipe.data, Cifar10) else recipe.data.open(device)


def sampling_step(recipe: Recipe, runtime: Runtime) -> Work:
    """One look of the network at a batch of noisy pictures, as samplers take it at each step; without guidance."""
    runtime, source = runtime.resolved().configure_process(), source_of(recipe, "cpu")
    recipe = replace(recipe, sampling=replace(recipe.sampling, guidance=Guidance()))
    model = runtime.to_device(build_denoiser(recipe, source.shape, len(source.class_names))).eval()
    if runtime.compile is True:
        model.net.compile()
    labels = (
        torch.zeros(recipe.batch_size, dtype=torch.int64, device=runtime.device) if recipe.class_conditional else None
    )
    level = sampling_levels(recipe.sampling_schedule, 2)[1]
    x = level.sigma * seeded_noise(range(recipe.batch_size), source.shape, runtime.device)()
    return partial(make_denoiser(model, recipe, labels, runtime), x, level)


WORKLOADS: dict[str, Kind] = {"train": training_step, "sample": sampling_step}


def bench(recipe: Recipe, runtime: Runtime, rounds: int, seconds: float) -> BenchResult:
    """Measure `recipe` on a resolved machine: eager, and compiled besides if the machine says so, all by turns."""
    ways = {"eager": replace(runtime, compile=False)} | ({"compiled": runtime} if runtime.compile is True else {})
    best = peak_kernels(runtime.device, torch.bfloat16 if runtime.precision == "bfloat16" else torch.float32)
    with ExitStack() as stack:
        apart = {
            (name, way): stack.enter_context(IsolatedWorker(runtime.device, kind, recipe, on))
            for way, on in ways.items()
            for name, kind in WORKLOADS.items()
        }
        operations = {name: apart[name, "eager"].arithmetic() // recipe.batch_size for name in WORKLOADS}
        clocks = {", ".join(key): work.lasting for key, work in apart.items()}
        clocks |= {name: clock(work, runtime.device) for name, (work, _) in best.items()}
        taken = interleaved(clocks, rounds, seconds)
        costs = {
            f"{name}, {way}": StepCost(recipe.batch_size, taken[f"{name}, {way}"], operations[name], work.memory())
            for (name, way), work in apart.items()
        }
    peaks = {name: count / taken[name].median for name, (_, count) in best.items()}
    return BenchResult(str(runtime), processor(runtime.device), parameters(recipe), costs, peaks)


def parameters(recipe: Recipe) -> int:
    """The weights of the recipe's network."""
    source = source_of(recipe, "cpu")
    with torch.device("meta"):
        model = build_denoiser(recipe, source.shape, len(source.class_names))
    return sum(weight.numel() for weight in model.parameters())


def processor(device: str) -> str:
    """What computes, by its name."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu.model() or device


def bench_to_dict(bench: BenchResult) -> dict[str, Any]:
    """A bench as JSON holds it: seconds of every turn, bytes, operations for a picture, operations a second."""
    costs = {
        name: {
            "batch": cost.batch,
            "seconds": list(cost.seconds.rounds),
            "images_per_second": cost.speed.median,
            "operations": cost.flops,
            "share_of_peak": cost.flops_per_second / bench.peak,
            "bytes": cost.peak_memory,
        }
        for name, cost in bench.costs.items()
    }
    about = {"machine": bench.runtime, "processor": bench.processor, "torch": torch.__version__}
    return about | {"parameters": bench.parameters, "costs": costs, "peaks": bench.peaks}


def bench_table(bench: BenchResult) -> str:
    """A bench as a person reads it."""
    names = f"{'ms':>9}{'GFLOP':>8}{'GFLOP/s':>9}{'of peak':>9}{'memory':>10}"
    head = f"  {'':18}{'images/s':>10}{'half of the turns':>20}{names}"
    lines = [f"{bench.parameters:,} parameters, on {bench.processor}", "", head]
    for name, cost in bench.costs.items():
        low, high = cost.speed.quartiles
        figures = f"{cost.speed.median:>10,.4g}{f'{low:,.4g} .. {high:,.4g}':>20}{1000 * cost.seconds.median:>9,.4g}"
        figures += (
            f"{cost.flops / 1e9:>8.3g}{cost.flops_per_second / 1e9:>9,.4g}{cost.flops_per_second / bench.peak:>9.1%}"
        )
        lines.append(f"  {name:18}{figures}{cost.peak_memory / 1e9:>7.2f} GB")
    lines += ["", "ms: for a batch; GFLOP: for a picture; the device at its best:"]
    return "\n".join([*lines, *(f"  {name}: {rate / 1e9:,.0f} GFLOP/s" for name, rate in bench.peaks.items())])
