"""Two contestants by turns, each in a process of its own: how fast, in how much memory, and the ratio turn by turn."""

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
    """Who does it, and the function that makes the work for a device and a batch."""

    name: str
    make: Callable[..., Work]
    given: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Duel:
    """What came of one pair, ours first; speeds in images a second."""

    network: str
    batch: int
    names: tuple[str, str]
    speeds: tuple[Measurement, Measurement]
    bytes: tuple[int, int]
    wanted: float
    """The ratio of speeds that is to be reached at least; 0 where none is asked for."""

    @property
    def ratio(self) -> Measurement:
        """How many times as fast the first is."""
        return self.speeds[0].ratio(self.speeds[1])

    def __str__(self) -> str:
        (low, high), wanted = self.ratio.quartiles, f", wanted {self.wanted}" if self.wanted else ""
        who = " | ".join(
            f"{name} {speed.median:.4g} images/s, {size / 1e9:.2f} GB"
            for name, speed, size in zip(self.names, self.speeds, self.bytes, strict=True)
        )
        ratios = f"{self.ratio.median:.2f} times ({low:.2f} .. {high:.2f}{wanted})"
        return (
            f"{self.network}, batch {self.batch}: {who} | {ratios}, {self.bytes[0] / self.bytes[1]:.2f} of the memory"
        )

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "network": self.network,
            "batch": self.batch,
            "wanted": self.wanted,
            "ratio": self.ratio.median,
            "ratio_quartiles": self.ratio.quartiles,
            "memory_ratio": self.bytes[0] / self.bytes[1],
            "contestants": [
                {"name": name, "images_per_second": speed.median, "turns": speed.rounds, "bytes": size}
                for name, speed, size in zip(self.names, self.speeds, self.bytes, strict=True)
            ],
        }


def duel(
    network: str, batch: int, ours: Contestant, theirs: Contestant, wanted: float, options: argparse.Namespace
) -> Duel:
    """Let both do their work by turns, and tell at once."""
    device, pair = options.device, (ours, theirs)
    with (
        IsolatedWorker(device, ours.make, *ours.given, device, batch) as first,
        IsolatedWorker(device, theirs.make, *theirs.given, device, batch) as second,
    ):
        taken = time_interleaved({"a": first.time_seconds, "b": second.time_seconds}, options.rounds, options.seconds)
        speeds = taken["a"].per(batch), taken["b"].per(batch)
        sizes = first.peak_memory(), second.peak_memory()
    result = Duel(network, batch, (pair[0].name, pair[1].name), speeds, sizes, wanted)
    print(result, flush=True)
    return result


def arguments(description: str, out: str) -> argparse.ArgumentParser:
    """The options that all these commands have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument("--device", default=Runtime().resolve().device)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn, at least")
    parser.add_argument("--out", type=Path, default=Path("docs/speed", out), help="without suffix")
    return parser


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, the quick ones if they were asked for."""
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.0
    return options


def about(device: str) -> dict[str, Any]:
    """On what it was measured."""
    return {
        "machine": str(Runtime(device).resolve()),
        "settled": cpu.tune_process() if device == "cpu" else (),
        "processor": processor(device),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("limpid", "torch", "diffusers", "pillow")},
        "threads": torch.get_num_threads(),
    }


def written(duels: Sequence[Duel], options: argparse.Namespace) -> None:
    """All figures as JSON; speed and memory against the batch as a plot."""
    save({"about": about(options.device), "duels": [each.plain() for each in duels]}, options.out)
    for network in dict.fromkeys(each.network for each in duels):
        here = [each for each in duels if each.network == network]
        speeds = panel(here, "images a second", lambda each, side: each.speeds[side].median)
        sizes = panel(here, "GB at the peak", lambda each, side: each.bytes[side] / 1e9)
        name = "-".join([options.out.name, *network.split(", ")])
        print(panels([speeds, sizes], options.out.with_name(f"{name}.png")))


def panel(duels: Sequence[Duel], y: str, value: Callable[[Duel, int], float]) -> Panel:
    """A value of all contestants against the batch; of one that stood in several duels, the first."""
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
