"""How fast images of one's own are read: each time by Pillow, packed once, and from then on out of the pack.

    python benchmarks/own_images.py [--turns 5]

On made-up images of the sizes of common sets, to 64x64. The three take turns; medians of five turns, in images/s of
the clock, and of one core's time in brackets, which other work on the machine does not change.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limpid.data import Folder

KINDS = {"32x32 PNG": (32, 32, "png"), "178x218 JPEG": (178, 218, "jpg"), "1200x900 JPEG": (1200, 900, "jpg")}
SIZE = 64


def write(folder: Path, kind: str, n: int) -> None:
    """n smooth random images with a little noise on them, as files."""
    width, height, suffix = KINDS[kind]
    draw = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n):
        coarse = Image.fromarray(draw.integers(256, size=(6, 8, 3), dtype=np.uint8))
        smooth = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = (smooth + draw.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:05d}.{suffix}", quality=85)


def by_pillow(folder: Path) -> int:
    """Every image as a data set of torch's examples reads it: opened, converted, resized, an array."""
    files = sorted(folder.iterdir())
    for file in files:
        with Image.open(file) as image:
            np.array(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    return len(files)


def packing(folder: Path) -> int:
    """Every image, packed anew."""
    with tempfile.TemporaryDirectory() as kept:
        os.environ["LIMPID_DATA"] = kept
        return len(Folder(str(folder), SIZE, split="all").open("cpu"))


def out_of_the_pack(batches: int) -> Callable[[Path], int]:
    """Batches of 128 in the order of a run, from a pack that is there."""

    def read(folder: Path) -> int:
        os.environ["LIMPID_DATA"] = str(folder.parent / "kept")
        drawn = Folder(str(folder), SIZE, split="all").open("cpu").batches(0, 128, 0)
        for _ in range(batches):
            next(drawn)
        return 128 * batches

    return read


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ways = {"Pillow": by_pillow, "packing": packing, "out of the pack": out_of_the_pack(400)}
    for kind, n in zip(KINDS, (2_000, 1_000, 60), strict=True):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "images")
            write(folder, kind, n)
            out_of_the_pack(1)(folder)
            speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(options.turns):
                for name, way in ways.items():
                    clock, core = time.perf_counter(), time.process_time()
                    done = way(folder)
                    speeds[name].append((done / (time.perf_counter() - clock), done / (time.process_time() - core)))
            for name, turns in speeds.items():
                clock, core = (statistics.median(column) for column in zip(*turns, strict=True))
                print(f"{kind:>14}  {name:<16} {clock:>9,.0f} ({core:,.0f})")


if __name__ == "__main__":
    main()
