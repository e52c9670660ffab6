"""How long one waits before anything happens: for help, for imports, for the first image of a run.

    python benchmarks/latency.py [--run runs/cifar10-small] [--quick]

Every figure is of fresh processes, the median of seven. The first image is `limpid sample RUN --n 1`; the network's
own time in it is that of drawing the same image again in a process that has just done so. Without a run, one of the
demo's network is made, which has hardly been trained.
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
WANTED = {"limpid --help": 0.3, "first image, beyond the network": 3.0}


def main() -> None:
    """Measure, and say whether it is quick enough."""
    parser = arguments(__doc__ or "", "latency")
    parser.add_argument("--run")
    options = parse_options(parser)
    with tempfile.TemporaryDirectory() as scratch:
        run = options.run or pipeline(scratch)
        commands = {"python": ["-c", "pass"], "limpid --help": ["-m", "limpid", "--help"]}
        imports = ("limpid.cli.main",) if options.quick else IMPORTS
        commands |= {f"import {name}": ["-c", f"import {name}"] for name in imports}
        commands |= {"limpid sample --n 1": ["-m", "limpid", "sample", run, "--n", "1", "--out", f"{scratch}/drawn"]}
        commands["limpid sample --n 1"] += ["--device", options.device]
        figures = waits(commands, options.rounds)
        with IsolatedWorker(options.device, first_image, run) as work:
            work.time_seconds(1)
            network = min(work.time_seconds(1) for _ in range(options.rounds))
    own = Measurement(tuple(turn - network for turn in figures["limpid sample --n 1"].rounds))
    figures |= {"the network's own time": Measurement((network,)), "first image, beyond the network": own}
    for name, figure in figures.items():
        wanted = f", wanted at most {WANTED[name]}" if name in WANTED else ""
        low, high = figure.quartiles
        print(f"{name}: {figure.median:.2f} s ({low:.2f} .. {high:.2f}{wanted})")
    seconds = {name: figure.rounds for name, figure in figures.items()}
    save({"about": about(options.device), "wanted": WANTED, "seconds": seconds}, options.out)


def pipeline(folder: str) -> str:
    """A run that took a moment."""
    run = str(Path(folder, "run"))
    words = ["train", "demo", "--images", "32", "--sampling.steps", "1", "--run", run]
    subprocess.run([sys.executable, "-m", "limpid", *words], check=True, stdout=subprocess.DEVNULL)
    return run


def waits(commands: dict[str, list[str]], rounds: int) -> dict[str, Measurement]:
    """Seconds of each command in fresh processes, by turns; once before, so that the disk has been read."""
    turns: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, words in commands.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            if number:
                turns[name].append(time.perf_counter() - begun)
    return {name: Measurement(tuple(taken)) for name, taken in turns.items()}


def first_image(run: str) -> Work:
    """What draws the image of seed 0, the network being there."""
    runtime = Runtime().resolve().setup()
    pipeline = load(run, runtime=runtime)
    return partial(pipeline.sample, 1)


if __name__ == "__main__":
    main()
