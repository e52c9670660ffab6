"""The data pipeline and the forward process of a training step, against those of other projects, by turns.

    python benchmarks/forward_and_data.py [--quick]

The forward process with its noise, 128 images of 3x64x64, against torch's `randn_like` and diffusers' `add_noise`; the
data pipeline at 32 and 64 pixels against Pillow in a `DataLoader`, as most examples have it; and the cost of both
against batch, size and number of images. A few minutes on two cores.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired import Contestant, Duel, about, arguments, duel, parse_options, save
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limpid.bench.timing import IsolatedWorker, Work, time_interleaved
from limpid.data.augment import Augment
from limpid.data.images import ImageDataset, channels_last, normalize, resize
from limpid.data.readers.packed import map_file
from limpid.diffusion.level import add_noise
from limpid.diffusion.schedules import LinearBeta, stratified
from limpid.runtime.device import Runtime
from limpid.runtime.randn import randn
from limpid.runtime.rng import generator
from limpid.viz.plot import Curve, Panel, panels

LARGE = 50_000


def main() -> None:
    """Measure everything, and write JSON and a plot."""
    options = parse_options(arguments(__doc__ or "", "forward_and_data"))
    sizes, n = ((32,), 500) if options.quick else ((32, 64), 5_000)
    duels = [forward_duel(8 if options.quick else 128, 64, options)]
    duels += [data_duel(size, n, workers, options) for size in sizes for workers in ((0,) if options.quick else (0, 2))]
    resize_errors = {size: resize_error(size) for size in (16, 32, 48, 64)}
    print("largest difference from Pillow's resize, of 255:", resize_errors)
    lines = costs(options)
    figures = {"duels": [each.plain() for each in duels], "farthest_from_pillow": resize_errors, "costs": lines}
    save({"about": about(options.device)} | figures, options.out)
    print(draw(lines, options.out.with_name(f"{options.out.name}.png")))


def forward_duel(batch: int, size: int, options: Any) -> Duel:
    """The forward process against diffusers'."""
    limpid, diffusers = (
        Contestant("limpid", limpid_forward, (size,)),
        Contestant("diffusers", diffusers_forward, (size,)),
    )
    return duel(f"forward, {size} px", batch, limpid, diffusers, 3.0, options)


def data_duel(size: int, n: int, workers: int, options: Any) -> Duel:
    """The data pipeline against Pillow's in a DataLoader."""
    limpid = Contestant("limpid, resident", limpid_data, (size, n))
    pillow = Contestant(f"Pillow, DataLoader, {workers} workers", pillow_data, (size, n, workers))
    return duel(f"data, {size} px", 128, limpid, pillow, 10.0, options)


def limpid_forward(size: int, device: str, batch: int) -> Work:
    """The forward process of limpid's training: noise levels, Gaussian noise, and x = alpha x0 + sigma eps."""
    runtime = Runtime(device).resolve().setup()
    x0 = torch.rand(batch, 3, size, size, device=runtime.device).to(memory_format=torch.channels_last)
    steps, schedule = count(0, batch), LinearBeta()

    def work() -> Tensor:
        seen = next(steps)
        level = schedule(stratified(batch, generator(runtime.device, 0, "levels", seen)))
        return add_noise(x0, randn((batch, 3, size, size), runtime.device, 0, "noise", seen), level)

    return work


def diffusers_forward(size: int, device: str, batch: int) -> Work:
    """The forward process of diffusers' training example."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    x0, noises = torch.rand(batch, 3, size, size, device=device), DDPMScheduler(num_train_timesteps=1000)

    def work() -> Tensor:
        t = torch.randint(0, 1000, (batch,), device=device)
        return noises.add_noise(x0, torch.randn_like(x0), t)  # pyright: ignore[reportArgumentType]

    return work


def random_images(n: int) -> np.ndarray:
    """n random images of 32x32, height first and channels last as CIFAR-10's readers have them."""
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def limpid_data(size: int, n: int, device: str, batch: int) -> Work:
    """limpid's batches: resized once and held in memory; each step selects, mirrors and converts a batch."""
    runtime = Runtime(device).resolve().setup()
    pixels = channels_last(resize(torch.from_numpy(random_images(n)).permute(0, 3, 1, 2).contiguous(), size))
    return batches(ImageDataset(pixels, torch.zeros(n, dtype=torch.int64)).to(runtime.device), batch)


def batches(images: ImageDataset, batch: int) -> Work:
    """The next batch as the network takes it, made by the functions of training."""
    stream, augment, steps = images.batches(0, batch, 0), Augment(), count()
    device = images.pixels.device

    def work() -> Tensor:
        pixels, _ = next(stream)
        mirrored = augment(pixels, generator(device, 0, "augment", next(steps)))
        return normalize(mirrored).contiguous(memory_format=torch.channels_last)

    return work


class Pillow(Dataset[Tensor]):
    """Images that are resized, mirrored and converted one by one when an index is read."""

    def __init__(self, size: int, n: int):
        self.images, self.size = random_images(n), size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.fromarray(self.images[index])
        if self.size != 32:
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if torch.rand(1).item() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255).sub(0.5).div(0.5)


def pillow_data(size: int, n: int, workers: int, device: str, batch: int) -> Work:
    """The same images through Pillow and a DataLoader, shuffled anew in each epoch."""
    loader = DataLoader(
        Pillow(size, n), batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )

    def endless() -> Iterator[Tensor]:
        while True:
            yield from loader

    stream = endless()
    return lambda: next(stream).to(device)


def resize_error(size: int) -> int:
    """The largest difference between a pixel resized by limpid and by Pillow, of 255."""
    images = random_images(64)
    limpid = resize(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), size).permute(0, 2, 3, 1).numpy()
    pillow = [np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in images]
    return int(np.abs(limpid.astype(int) - np.stack(pillow).astype(int)).max())


def costs(options: Any) -> dict[str, dict[str, list[float]]]:
    """Milliseconds against batch, size and number of images, and megabytes for memory-mapped images."""
    quick = options.quick
    by_batch = [8, 16] if quick else [32, 64, 128, 256, 512, 1024]
    by_size = [16, 32] if quick else [16, 32, 48, 64, 96, 128]
    by_number = [100, 1_000] if quick else [1_000, 10_000, 100_000, 1_000_000]
    return {
        "forward, batch": time_works(by_batch, lambda n: partial(limpid_forward, 32, options.device, n), options),
        "data, batch": time_works(by_batch, lambda n: partial(limpid_data, 32, 5_000, options.device, n), options),
        "forward, size": time_works(by_size, lambda n: partial(limpid_forward, n, options.device, 128), options),
        "data, size": time_works(by_size, lambda n: partial(limpid_data, n, 1_000, options.device, 128), options),
        "data, number": mapped_costs(by_number, options),
    }


def time_works(values: list[int], maker: Callable[[int], Callable[[], Work]], options: Any) -> dict[str, list[float]]:
    """Milliseconds of the work made for each value, by turns in this process."""
    from limpid.bench.timing import clock

    taken = time_interleaved(
        {str(n): clock(maker(n)(), options.device) for n in values}, options.rounds, options.seconds / 10
    )
    return {"x": [float(n) for n in values], "ms": [1000 * taken[str(n)].median for n in values]}


def mapped_costs(numbers: list[int], options: Any) -> dict[str, list[float]]:
    """Milliseconds of a batch of 128, and megabytes of the process, against the number of mapped 32x32 images."""
    milliseconds, megabytes = [], []
    with tempfile.TemporaryDirectory(dir=".cache" if Path(".cache").is_dir() else None) as folder:
        for n in numbers:
            with IsolatedWorker(options.device, mapped_batches, str(Path(folder, f"{n}.bytes")), n) as work:
                taken = time_interleaved({"": work.time_seconds}, options.rounds, options.seconds / 4)
                milliseconds.append(1000 * taken[""].median)
                megabytes.append(work.anonymous_rss() / 1e6)  # pages of the file are the system's to take back
    return {"x": [float(n) for n in numbers], "ms": milliseconds, "MB": megabytes}


def mapped_batches(path: str, n: int) -> Work:
    """Batches from a sparse file of n images: all bytes are zero, and it takes no space on the disk."""
    shape = (n, 3, 32, 32)
    with open(path, "wb") as file:
        file.truncate(math.prod(shape))
    return batches(ImageDataset(map_file(Path(path), shape), torch.zeros(n, dtype=torch.int64)), 128)


def draw(lines: dict[str, dict[str, list[float]]], path: Path) -> Path:
    """Three plots: against batch, size and number."""

    def curves(what: str, power: int = 1) -> list[Curve]:
        return [
            Curve(name.split(",")[0], [x**power for x in line["x"]], line["ms"])
            for name, line in lines.items()
            if name.endswith(what)
        ]

    number = lines["data, number"]
    memory = Curve("memory, MB", number["x"], number["MB"])
    return panels(
        [
            Panel(curves("batch"), "ms against the batch", x="images of 32x32"),
            Panel(curves("size", 2), "ms against the size", x="pixels of an image, batch 128"),
            Panel([*curves("number"), memory], "against the number", x="mapped images", log_x=True, log_y=True),
        ],
        path,
    )


if __name__ == "__main__":
    main()
