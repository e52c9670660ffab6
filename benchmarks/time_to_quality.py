"""Frechet distance against minutes of training, limpid and a peer.

    python benchmarks/time_to_quality.py [--minutes 30] [--every 3] [--quick]
    python benchmarks/time_to_quality.py --minutes 480 --every 30 --folder runs/eight-hours --out docs/speed/eight_hours

`limpid train cifar10-small` beside the peer of diffusers_example.py, which trains for the same time, or for
`--peer-minutes`: 30 where limpid trains for longer. The speeds are measured first, turn by turn, and give the number of
images of each, since both learning rates decay to the last image; minutes are images divided by that speed, so that
other work of the machine during training does not count. Snapshots are then evaluated with the classifiers of
outside_classifiers.py and with limpid's own (FD-CIFAR), on 1,000 images during training and 5,000 at the end: sampled
as the recipe sets for limpid, by DDIM in 50 steps for the peer.

All results are saved in the folder, and a command that was stopped continues from them.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import diffusers_example
from jaxtyping import UInt8
from outside_classifiers import distances, statistics
from paired import about, arguments, save
from torch import Tensor

from limpid.bench.costs import training_step
from limpid.bench.timing import IsolatedWorker, time_interleaved
from limpid.data import Cifar10
from limpid.metrics.extractors.base import FeatureExtractor
from limpid.metrics.extractors.cifar_classifier import cifar_extractor
from limpid.metrics.frechet import frechet
from limpid.metrics.moments import Statistics
from limpid.recipes.registry import find_recipe
from limpid.runtime.device import Runtime, TrainingRuntime
from limpid.sampling.pipeline import load
from limpid.storage.checkpoint import list_checkpoints, read_data
from limpid.viz.plot import Curve, Panel, panels

LIMPID, PEER = "limpid", "diffusers' example"
NETWORKS = ("ResNet-56", "ResNet-20", "FD-CIFAR")


def main() -> None:
    """Train both, evaluate both, plot the curves."""
    options = parse_options()
    options.folder.mkdir(parents=True, exist_ok=True)
    plan = plan_images(options)
    print(plan, flush=True)
    train_limpid(plan[LIMPID], options)
    # In its own process: limpid has changed the settings of this one.
    snapshots = round(options.peer_minutes / options.every)
    work = (options.folder / "peer", plan[PEER], max(1, snapshots))
    child = multiprocessing.get_context("spawn").Process(target=diffusers_example.train, args=work)
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(child.exitcode)
    lines = score_checkpoints(plan, options)
    print(draw(lines, options.out.with_name(f"{options.out.name}.png")))


def parse_options() -> argparse.Namespace:
    """The options."""
    parser = arguments(__doc__ or "", "time_to_quality")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--peer-minutes", type=float, help="minutes of the peer; default: those of limpid, at most 30")
    parser.add_argument("--every", type=float, default=3.0, help="minutes between snapshots")
    parser.add_argument("--recipe", default="cifar10-small")
    parser.add_argument("--folder", type=Path, default=Path("runs/time-to-quality"))
    parser.add_argument("--n", type=int, default=1_000, help="samples to evaluate during training")
    parser.add_argument("--last", type=int, default=5_000, help="samples to evaluate at the end")
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.every, options.n, options.last = 0.1, 0.05, 64, 80
        options.rounds, options.seconds = 2, 0.0
    options.peer_minutes = options.peer_minutes or min(options.minutes, 30.0)
    return options


def plan_images(options: argparse.Namespace) -> dict[str, int]:
    """How many images each trains on in its minutes, by its measured speed; measured once for each folder."""
    path, minutes = options.folder / "plan.json", minutes_of(options)
    if not path.exists():
        rates = images_per_minute(options)
        images = {name: round(minutes[name] * rates[name]) for name in minutes}
        path.write_text(json.dumps({"minutes": minutes, "images": images}) + "\n")
    plan = json.loads(path.read_text())
    if plan["minutes"] != minutes:
        sys.exit(f"{options.folder} holds runs of {plan['minutes']} minutes: name another with --folder")
    return plan["images"]


def minutes_of(options: argparse.Namespace) -> dict[str, float]:
    """Minutes of training of each."""
    return {LIMPID: options.minutes, PEER: options.peer_minutes}


def images_per_minute(options: argparse.Namespace) -> dict[str, float]:
    """The training speed of each, measured turn by turn."""
    recipe = find_recipe(options.recipe)
    with (
        IsolatedWorker("cpu", training_step, recipe, TrainingRuntime(options.device)) as limpid,
        IsolatedWorker("cpu", diffusers_example.step_to_time) as peer,
    ):
        work = {LIMPID: limpid.time_seconds, PEER: peer.time_seconds}
        seconds = time_interleaved(work, options.rounds, options.seconds)
    sizes = {LIMPID: recipe.batch_size, PEER: diffusers_example.BATCH}
    return {name: 60 * size / seconds[name].median for name, size in sizes.items()}


def train_limpid(images: int, options: argparse.Namespace) -> None:
    """`limpid train` of the recipe unchanged, with a checkpoint every `--every` minutes; it resumes by itself."""
    between = max(find_recipe(options.recipe).batch_size, round(images * options.every / options.minutes))
    words = ["train", options.recipe, "--images", images, "--run", options.folder / "limpid"]
    words += ["--device", options.device, "--every.sample", 0, "--every.log", max(1, between // 20)]
    words += ["--every.milestone", between, "--every.save", between]
    subprocess.run([sys.executable, "-m", "limpid", *map(str, words)], check=True)


def score_checkpoints(plan: dict[str, int], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The scores of each snapshot by every feature network; those saved in the folder come first."""
    path = options.folder / "scores.json"
    lines = json.loads(path.read_text()) if path.exists() else []
    known = {(line["who"], line["images"], line["n"]) for line in lines}
    for who, seen, sample_images in [*limpid_snapshots(options), *peer_snapshots(options)]:
        last = seen >= plan[who]
        for n in (options.n, options.last) if last else (options.n,):
            if (who, seen, n) not in known:
                pixels, minutes = sample_images(n), minutes_of(options)[who] * seen / plan[who]
                line = {"who": who, "minutes": minutes, "images": seen, "n": n}
                lines.append(line | distances(pixels) | {"FD-CIFAR": fd_cifar(pixels)})
                print(lines[-1], flush=True)
                path.write_text(json.dumps(lines, indent=1) + "\n")
                save({"about": about(options.device), "lines": lines}, options.out)
    return lines


def fd_cifar(pixels: UInt8[Tensor, "n 3 32 32"]) -> float:
    """The Frechet distance of images to the training images by limpid's own classifier."""
    extractor, real = real_cifar()
    return frechet(statistics(extractor, pixels), real)


@lru_cache
def real_cifar() -> tuple[FeatureExtractor, Statistics]:
    """limpid's own classifier, and the statistics of the training images by it."""
    extractor = cifar_extractor("cpu")
    return extractor, statistics(extractor, Cifar10().load().pixels)


def limpid_snapshots(options: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """Contestant, images seen, and a function that samples n images; for each checkpoint."""
    for file in list_checkpoints(options.folder / "limpid" / "checkpoints"):
        if seen := read_data(file)["images_seen"]:
            yield LIMPID, seen, partial(limpid_images, file, options)


def limpid_images(file: Path, options: argparse.Namespace, n: int) -> Tensor:
    """n samples, with the sampling settings that the recipe has now."""
    runtime = Runtime(options.device).resolve().setup()
    pipeline = load(file, runtime=runtime)
    return pipeline.with_sampling(find_recipe(options.recipe).sampling).sample(n, batch_size=250).pixels


def peer_snapshots(options: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """The same for the snapshots of the peer."""
    for file in sorted((options.folder / "peer").glob("[0-9]*.safetensors")):
        yield PEER, int(file.stem), partial(diffusers_example.sample, file)


def draw(lines: list[dict[str, Any]], path: Path) -> Path:
    """A plot for each feature network: the distance of both against minutes, all at the smaller n."""
    n = min(line["n"] for line in lines)
    plots = []
    for extractor in (name for name in NETWORKS if name in lines[0]):
        series = []
        for who in dict.fromkeys(line["who"] for line in lines):
            points = [line for line in lines if line["who"] == who and line["n"] == n]
            points.sort(key=lambda line: line["minutes"])
            series.append(Curve(who, [p["minutes"] for p in points], [p[extractor] for p in points]))
        title = f"{extractor if extractor.startswith('FD') else f'FD of {extractor}'}, {n:,} images"
        plots.append(Panel(series, title, x="minutes of training on two cores", log_y=True))
    return panels(plots, path)


if __name__ == "__main__":
    main()
