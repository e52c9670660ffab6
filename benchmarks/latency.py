"""Latency of the command: of its help, of imports, and of the first image of a run.

    python benchmarks/latency.py [--run runs/cifar10-small] [--quick]

Every figure is of fresh processes, the median of seven. The first image is `limpid sample RUN --n 1`; the network's
own time in it is that of sampling the same image again in the same process. Without --run, a run of the recipe `demo`
is made, trained on 32 images.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from paired import about, arguments, parse_options, save

from limpid.bench.timing import IsolatedWorker, Measurement, Work
from limpid.runtime.device import Runtime
from limpid.sampling.pipeline import load

IMPORTS = (
    "torch",
    "limpid.cli.main",
    "limpid.sampling.sample",
    "limpid.training.loop",
    "limpid.training.run",
    "diffusers",
)
TARGETS = {"limpid --help": 0.3, "first image, beyond the network": 3.0}


def main() -> None:
    """Measure all latencies, and print them beside the targets."""
    parser = arguments(__doc__ or "", "latency")
    parser.add_argument("--run")
    options = parse_options(parser)
    with tempfile.TemporaryDirectory() as scratch:
        run = options.run or quick_run(scratch)
        commands = {"python": ["-c", "pass"], "limpid --help": ["-m", "limpid", "--help"]}
        imports = ("limpid.cli.main",) if options.quick else IMPORTS
        commands |= {f"import {name}": ["-c", f"import {name}"] for name in imports}
        commands |= {"limpid sample --n 1": ["-m", "limpid", "sample", run, "--n", "1", "--out", f"{scratch}/drawn"]}
        commands["limpid sample --n 1"] += ["--device", options.device]
        figures = measure_commands(commands, options.rounds)
        with IsolatedWorker(options.device, first_image, run) as work:
            work.time_seconds(1)
            network = min(work.time_seconds(1) for _ in range(options.rounds))
    own = Measurement(tuple(turn - network for turn in figures["limpid sample --n 1"].rounds))
    figures |= {"the network's own time": Measurement((network,)), "first image, beyond the network": own}
    for name, figure in figures.items():
        target = f", wanted at most {TARGETS[name]}" if name in TARGETS else ""
        low, high = figure.quartiles
        print(f"{name}: {figure.median:.2f} s ({low:.2f} .. {high:.2f}{target})")
    seconds = {name: figure.rounds for name, figure in figures.items()}
    save({"about": about(options.device), "wanted": TARGETS, "seconds": seconds}, options.out)


def quick_run(folder: str) -> str:
    """The path of a new run of the recipe `demo`, trained on 32 images with one sampling step."""
    run = str(Path(folder, "run"))
    words = ["train", "demo", "--images", "32", "--sampling.steps", "1", "--run", run]
    subprocess.run([sys.executable, "-m", "limpid", *words], check=True, stdout=subprocess.DEVNULL)
    return run


def measure_commands(commands: dict[str, list[str]], rounds: int) -> dict[str, Measurement]:
    """Seconds of each command in new processes, by turns. The first round only fills the disk cache."""
    turns: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, words in commands.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            if number:
                turns[name].append(time.perf_counter() - begun)
    return {name: Measurement(tuple(taken)) for name, taken in turns.items()}


def first_image(run: str) -> Work:
    """The work of sampling the image of seed 0 with a network that is already loaded."""
    runtime = Runtime().resolve().setup()
    pipeline = load(run, runtime=runtime)
    return partial(pipeline.sample, 1)


if __name__ == "__main__":
    main()
