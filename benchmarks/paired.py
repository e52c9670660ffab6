"""Two contestants by turns, each in its own process: speed, peak memory, and the ratio of speeds turn by turn."""

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limpid.bench.costs import processor
from limpid.bench.timing import IsolatedWorker, Measurement, Work, time_interleaved
from limpid.runtime import cpu
from limpid.runtime.device import Runtime
from limpid.runtime.versions import version
from limpid.viz.plot import Curve, Panel, panels


@dataclass(frozen=True)
class Contestant:
    """An implementation: its name, and the function that makes its work from `args`, a device and a batch."""

    name: str
    make: Callable[..., Work]
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Duel:
    """The result of one comparison, limpid's contestant first: speeds in images a second, peak memory in bytes."""

    network: str
    batch: int
    names: tuple[str, str]
    speeds: tuple[Measurement, Measurement]
    bytes: tuple[int, int]
    target: float
    """The ratio of speeds that should be reached at least; 0 where there is no target."""

    @property
    def ratio(self) -> Measurement:
        """Speed of the first over speed of the second, turn by turn."""
        return self.speeds[0].ratio(self.speeds[1])

    def __str__(self) -> str:
        (low, high), target = self.ratio.quartiles, f", wanted {self.target}" if self.target else ""
        both = " | ".join(
            f"{name} {speed.median:.4g} images/s, {size / 1e9:.2f} GB"
            for name, speed, size in zip(self.names, self.speeds, self.bytes, strict=True)
        )
        ratios = f"{self.ratio.median:.2f} times ({low:.2f} .. {high:.2f}{target})"
        return (
            f"{self.network}, batch {self.batch}: {both} | {ratios}, {self.bytes[0] / self.bytes[1]:.2f} of the memory"
        )

    def plain(self) -> dict[str, Any]:
        """The fields for JSON."""
        return {
            "network": self.network,
            "batch": self.batch,
            "wanted": self.target,
            "ratio": self.ratio.median,
            "ratio_quartiles": self.ratio.quartiles,
            "memory_ratio": self.bytes[0] / self.bytes[1],
            "contestants": [
                {"name": name, "images_per_second": speed.median, "turns": speed.rounds, "bytes": size}
                for name, speed, size in zip(self.names, self.speeds, self.bytes, strict=True)
            ],
        }


def duel(network: str, batch: int, a: Contestant, b: Contestant, target: float, options: argparse.Namespace) -> Duel:
    """Measure both by turns, and print the result."""
    device = options.device
    with (
        IsolatedWorker(device, a.make, *a.args, device, batch) as first,
        IsolatedWorker(device, b.make, *b.args, device, batch) as second,
    ):
        seconds = time_interleaved({"a": first.time_seconds, "b": second.time_seconds}, options.rounds, options.seconds)
        speeds = seconds["a"].per(batch), seconds["b"].per(batch)
        sizes = first.peak_memory(), second.peak_memory()
    result = Duel(network, batch, (a.name, b.name), speeds, sizes, target)
    print(result, flush=True)
    return result


def arguments(description: str, out: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minimal run, only to see that it works")
    parser.add_argument("--device", default=Runtime().resolve().device)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn, at least")
    parser.add_argument("--out", type=Path, default=Path("docs/speed", out), help="without suffix")
    return parser


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The parsed options; --quick means two rounds of the shortest turns."""
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.0
    return options


def about(device: str) -> dict[str, Any]:
    """The machine, the versions and the settings of a measurement."""
    return {
        "machine": str(Runtime(device).resolve()),
        "settled": cpu.tune_process() if device == "cpu" else (),
        "processor": processor(device),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("limpid", "torch", "diffusers", "pillow")},
        "threads": torch.get_num_threads(),
    }


def save_duels(duels: Sequence[Duel], options: argparse.Namespace) -> None:
    """Write all figures as JSON, and for each network a plot of speed and memory against the batch."""
    save({"about": about(options.device), "duels": [each.plain() for each in duels]}, options.out)
    for network in dict.fromkeys(each.network for each in duels):
        of_network = [each for each in duels if each.network == network]
        speeds = panel(of_network, "images a second", lambda each, side: each.speeds[side].median)
        sizes = panel(of_network, "peak memory, GB", lambda each, side: each.bytes[side] / 1e9)
        name = "-".join([options.out.name, *network.split(", ")])
        print(panels([speeds, sizes], options.out.with_name(f"{name}.png")))


def panel(duels: Sequence[Duel], y: str, value: Callable[[Duel, int], float]) -> Panel:
    """A value of all contestants against the batch; of a contestant in several duels, that of the first."""
    points: dict[str, dict[int, float]] = {}
    for each in duels:
        for side, name in enumerate(each.names):
            points.setdefault(name, {}).setdefault(each.batch, value(each, side))
    series = [Curve(name, list(found), list(found.values())) for name, found in points.items()]
    return Panel(series, x="batch", y=y)


def save(figures: dict[str, Any], out: Path) -> None:
    """Write figures to `out` with the suffix .json."""
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f"{out.name}.json")
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(path)
