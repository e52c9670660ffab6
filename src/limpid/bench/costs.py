"""What a recipe costs on a machine: time, FLOPs and memory of a training step and of a network evaluation."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch

from limpid.bench.timing import IsolatedWorker, Measurement, Work, clock, peak_kernels, time_interleaved
from limpid.data import Cifar10, DataSource
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.schedules import sampling_levels
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.runtime import cpu
from limpid.runtime.device import TrainingRuntime
from limpid.sampling.sample import make_denoiser, seeded_noise
from limpid.training.loop import training_loop
from limpid.training.state import init_state

UNBOUNDED = 2**62
"""A duration in images that no measurement reaches the end of."""


@dataclass(frozen=True)
class StepCost:
    """The cost of one workload, for a batch."""

    batch: int
    seconds: Measurement
    """Seconds of one batch."""
    flops: int
    """Floating-point operations for one image, in matrix products and convolutions."""
    peak_memory: int
    """Bytes: of GPU memory held by torch, or of the process on a CPU."""

    @property
    def speed(self) -> Measurement:
        """Images a second."""
        return self.seconds.per(self.batch)

    @property
    def flops_per_second(self) -> float:
        """Floating-point operations a second."""
        return self.flops * self.speed.median


@dataclass(frozen=True)
class BenchResult:
    """The cost of a recipe on a machine, and the highest speed that was measured on it."""

    runtime: str
    processor: str
    parameters: int
    costs: dict[str, StepCost]
    peaks: dict[str, float]
    """Floating-point operations a second of the kernels of `peak_kernels`, in the precision of the network."""

    @property
    def peak(self) -> float:
        """The highest of `peaks`."""
        return max(self.peaks.values())


MakeWork: TypeAlias = Callable[[Recipe, TrainingRuntime], Work]


def training_step(recipe: Recipe, runtime: TrainingRuntime) -> Work:
    """A function that makes one training step per call, loading of the batch included."""
    runtime = runtime.resolve().setup()
    source = open_source(recipe, runtime.device)
    state = init_state(recipe, source.shape, len(source.class_names), runtime)
    return partial(next, training_loop(state, replace(recipe, duration=UNBOUNDED), source, runtime))


def open_source(recipe: Recipe, device: str) -> DataSource:
    """The recipe's data; for CIFAR-10 random images, which take the same time and no download."""
    return recipe.data.random(device) if isinstance(recipe.data, Cifar10) else recipe.data.open(device)


def sampling_step(recipe: Recipe, runtime: TrainingRuntime) -> Work:
    """A function that makes one network evaluation per call, on a batch of noisy images, as in a sampler step without
    guidance."""
    runtime, source = runtime.resolve().setup(), open_source(recipe, "cpu")
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


WORKLOADS: dict[str, MakeWork] = {"train": training_step, "sample": sampling_step}


def bench(recipe: Recipe, runtime: TrainingRuntime, rounds: int, seconds: float) -> BenchResult:
    """Measure `recipe` with a resolved runtime: eager, and also compiled if the runtime compiles, interleaved."""
    parameters = count_parameters(recipe)  # refuses a recipe that cannot be built, before any process starts
    modes = {"eager": replace(runtime, compile=False)} | ({"compiled": runtime} if runtime.compile is True else {})
    kernels = peak_kernels(runtime.device, torch.bfloat16 if runtime.precision == "bfloat16" else torch.float32)
    with ExitStack() as stack:
        workers = {
            (name, mode): stack.enter_context(IsolatedWorker(runtime.device, make, recipe, mode_runtime))
            for mode, mode_runtime in modes.items()
            for name, make in WORKLOADS.items()
        }
        flops = {name: workers[name, "eager"].count_flops() // recipe.batch_size for name in WORKLOADS}
        clocks = {", ".join(key): worker.time_seconds for key, worker in workers.items()}
        clocks |= {name: clock(work, runtime.device) for name, (work, _) in kernels.items()}
        times = time_interleaved(clocks, rounds, seconds)
        costs = {
            f"{name}, {mode}": StepCost(recipe.batch_size, times[f"{name}, {mode}"], flops[name], worker.peak_memory())
            for (name, mode), worker in workers.items()
        }
    peaks = {name: count / times[name].median for name, (_, count) in kernels.items()}
    return BenchResult(str(runtime), processor(runtime.device), parameters, costs, peaks)


def count_parameters(recipe: Recipe) -> int:
    """The number of weights of the recipe's network."""
    source = open_source(recipe, "cpu")
    with torch.device("meta"):
        model = build_denoiser(recipe, source.shape, len(source.class_names))
    return sum(weight.numel() for weight in model.parameters())


def processor(device: str) -> str:
    """The name of the GPU or of the CPU."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu.model() or device


def bench_to_dict(bench: BenchResult) -> dict[str, Any]:
    """A result as JSON: the seconds of every round, bytes, operations per image, operations a second."""
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
    """A result as a table."""
    names = f"{'ms':>9}{'GFLOP':>8}{'GFLOP/s':>9}{'of peak':>9}{'memory':>10}"
    head = f"  {'':18}{'images/s':>10}{'quartiles':>20}{names}"
    lines = [f"{bench.parameters:,} parameters, on {bench.processor}", "", head]
    for name, cost in bench.costs.items():
        low, high = cost.speed.quartiles
        figures = f"{cost.speed.median:>10,.4g}{f'{low:,.4g} .. {high:,.4g}':>20}{1000 * cost.seconds.median:>9,.4g}"
        figures += (
            f"{cost.flops / 1e9:>8.3g}{cost.flops_per_second / 1e9:>9,.4g}{cost.flops_per_second / bench.peak:>9.1%}"
        )
        lines.append(f"  {name:18}{figures}{cost.peak_memory / 1e9:>7.2f} GB")
    lines += [
        "",
        "ms: per batch; GFLOP: per image; quartiles: of images/s over the rounds; of peak: relative to the fastest of",
    ]
    return "\n".join([*lines, *(f"  {name}: {rate / 1e9:,.0f} GFLOP/s" for name, rate in bench.peaks.items())])
