"""How fast images of a user's folder are read: each time by Pillow, while they are packed, and from the pack.

    python benchmarks/own_images.py [--turns 5]

On synthetic images of the sizes of common data sets, resized to 64x64. The three take turns; medians of five turns, in
images/s of wall-clock time, and in brackets of one core's CPU time, which other work on the machine does not change.
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
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n):
        coarse = Image.fromarray(rng.integers(256, size=(6, 8, 3), dtype=np.uint8))
        smooth = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:05d}.{suffix}", quality=85)


def by_pillow(folder: Path) -> int:
    """Every image as a common PyTorch data set reads it: opened, converted, resized, an array."""
    files = sorted(folder.iterdir())
    for file in files:
        with Image.open(file) as image:
            np.array(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    return len(files)


def packing(folder: Path) -> int:
    """Every image, packed anew."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["LIMPID_DATA"] = cache
        return len(Folder(str(folder), SIZE, split="all").open("cpu"))


def from_pack(batches: int) -> Callable[[Path], int]:
    """Batches of 128 in the order of a run, from a pack that exists already."""

    def read(folder: Path) -> int:
        os.environ["LIMPID_DATA"] = str(folder.parent / "cache")
        batches_of_run = Folder(str(folder), SIZE, split="all").open("cpu").batches(0, 128, 0)
        for _ in range(batches):
            next(batches_of_run)
        return 128 * batches

    return read


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    readers = {"Pillow": by_pillow, "packing": packing, "out of the pack": from_pack(400)}
    for kind, n in zip(KINDS, (2_000, 1_000, 60), strict=True):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "images")
            write(folder, kind, n)
            from_pack(1)(folder)
            speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
            for _ in range(options.turns):
                for name, read in readers.items():
                    clock, core = time.perf_counter(), time.process_time()
                    images = read(folder)
                    speeds[name].append((images / (time.perf_counter() - clock), images / (time.process_time() - core)))
            for name, turns in speeds.items():
                clock, core = (statistics.median(column) for column in zip(*turns, strict=True))
                print(f"{kind:>14}  {name:<16} {clock:>9,.0f} ({core:,.0f})")


if __name__ == "__main__":
    main()
