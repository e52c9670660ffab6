"""Frechet distance against minutes of training, limpid and a peer.

    python benchmarks/time_to_quality.py [--minutes 30] [--every 3] [--quick]

Both train for the same time: `limpid train cifar10-small`, and diffusers' unconditional example unchanged, with the
same 1.6M parameters: UNet2DModel, batch 16, float32, AdamW 1e-4 with 500 warm-up steps and a cosine, linear beta, eps,
an EMA of power 3/4, images by Pillow and a DataLoader. The speeds are measured first, turn by turn, and give the number
of images of each, since both learning rates decay to the last image; minutes are images divided by that speed, so that
other work of the machine during training does not count. Snapshots are then evaluated with the classifiers of
outside_judges.py, on 1,000 images during training and 5,000 at the end: sampled as the recipe sets for limpid, by DDIM
in 50 steps for the peer.

All results are saved in the folder, and a command that was stopped continues from them.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from outside_judges import distances
from paired import about, arguments, save
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from limpid.bench.costs import training_step
from limpid.bench.timing import IsolatedWorker, Work, time_interleaved
from limpid.data import Cifar10
from limpid.data.images import to_uint8
from limpid.recipes.registry import find_recipe
from limpid.runtime.device import Runtime
from limpid.sampling.pipeline import load
from limpid.storage.checkpoint import list_checkpoints, read_data
from limpid.viz.plot import Curve, Panel, panels

LIMPID, PEER = "limpid", "diffusers' example"
STEPS, BATCH = 50, 16


def main() -> None:
    """Train both, evaluate both, plot the curves."""
    options = parse_options()
    options.folder.mkdir(parents=True, exist_ok=True)
    plan = plan_images(options)
    print(plan, flush=True)
    train_limpid(plan, options)
    # In its own process: limpid has changed the settings of this one.
    child = multiprocessing.get_context("spawn").Process(target=train_peer, args=(plan, options))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(child.exitcode)
    lines = score_checkpoints(options)
    print(draw(lines, options.out.with_name(f"{options.out.name}.png")))


def parse_options() -> argparse.Namespace:
    """The options."""
    parser = arguments(__doc__ or "", "time_to_quality")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=3.0, help="minutes between snapshots")
    parser.add_argument("--recipe", default="cifar10-small")
    parser.add_argument("--folder", type=Path, default=Path("runs/time-to-quality"))
    parser.add_argument("--n", type=int, default=1_000, help="samples to evaluate during training")
    parser.add_argument("--last", type=int, default=5_000, help="samples to evaluate at the end")
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.every, options.n, options.last = 0.1, 0.05, 64, 80
        options.rounds, options.seconds = 2, 0.0
    return options


def plan_images(options: argparse.Namespace) -> dict[str, int]:
    """How many images each trains on in the given minutes, by its measured speed; measured once for each folder."""
    path = options.folder / "plan.json"
    if not path.exists():
        recipe = find_recipe(options.recipe)
        with (
            IsolatedWorker("cpu", training_step, recipe, Runtime(options.device)) as limpid,
            IsolatedWorker("cpu", peer_steps) as peer,
        ):
            taken = time_interleaved(
                {"a": limpid.time_seconds, "b": peer.time_seconds}, options.rounds, options.seconds
            )
        sizes = {LIMPID: (taken["a"], recipe.batch_size), PEER: (taken["b"], BATCH)}
        images = {
            name: max(2, round(60 * options.minutes / figure.median)) * size for name, (figure, size) in sizes.items()
        }
        path.write_text(json.dumps({"minutes": options.minutes, "images": images}) + "\n")
    plan = json.loads(path.read_text())
    if plan["minutes"] != options.minutes:
        sys.exit(f"{options.folder} holds runs of {plan['minutes']} minutes: name another with --folder")
    return plan["images"]


def train_limpid(plan: dict[str, int], options: argparse.Namespace) -> None:
    """`limpid train` of the recipe unchanged; the command resumes by itself."""
    images = plan[LIMPID]
    between = max(find_recipe(options.recipe).batch_size, round(images * options.every / options.minutes))
    words = [
        "train",
        options.recipe,
        "--images",
        images,
        "--run",
        options.folder / "limpid",
        "--device",
        options.device,
    ]
    words += [
        "--every.milestone",
        between,
        "--every.save",
        between,
        "--every.sample",
        0,
        "--every.log",
        max(1, between // 20),
    ]
    subprocess.run([sys.executable, "-m", "limpid", *map(str, words)], check=True)


class Images(Dataset[Tensor]):
    """The training images as the example's transforms give them, written without torchvision: floats in [-1, 1]."""

    def __init__(self) -> None:
        self.pixels = Cifar10().load().pixels.permute(0, 2, 3, 1).numpy()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.fromarray(self.pixels[index]).resize((32, 32), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255).sub(0.5).div(0.5)


def network() -> nn.Module:
    """diffusers' network of 1.6M parameters."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=32,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


class Peer:
    """The example's training loop: network, optimiser, learning-rate schedule, EMA and data."""

    def __init__(self, images: int):
        from diffusers.optimization import get_scheduler
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
        from diffusers.training_utils import EMAModel

        self.net, self.noises = network(), DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        self.average = EMAModel(self.net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        parameters = self.net.parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        self.rate = get_scheduler("cosine", self.optimizer, num_warmup_steps=500, num_training_steps=images // BATCH)
        self.stream, self.seen = self.batches(), 0

    def batches(self) -> Iterator[Tensor]:
        """Shuffled anew in each epoch."""
        loader = DataLoader(Images(), batch_size=BATCH, shuffle=True, drop_last=True)
        while True:
            yield from loader

    def step(self) -> None:
        """One step of training."""
        x0 = next(self.stream)
        eps, t = torch.randn(x0.shape), torch.randint(0, 1000, (len(x0),))
        x = self.noises.add_noise(x0, eps, t)  # pyright: ignore[reportArgumentType]
        F.mse_loss(self.net(x, t).sample.float(), eps.float()).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.rate.step()
        self.optimizer.zero_grad()
        self.average.step(self.net.parameters())
        self.seen += BATCH

    def state(self) -> dict[str, Any]:
        """All that it needs to resume."""
        parts = {"net": self.net, "average": self.average, "optimizer": self.optimizer, "rate": self.rate}
        return {name: part.state_dict() for name, part in parts.items()} | {"seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a state, with the images in a new order."""
        for name in ("net", "average", "optimizer", "rate"):
            getattr(self, name).load_state_dict(state[name])
        self.seen = state["seen"]

    def ema_weights(self) -> dict[str, Tensor]:
        """The EMA weights by name."""
        names = [name for name, _ in self.net.named_parameters()]
        return {name: value.clone() for name, value in zip(names, self.average.shadow_params, strict=True)}


def peer_steps() -> Work:
    """The peer's training step, to be timed."""
    return Peer(10**9).step


def train_peer(plan: dict[str, int], options: argparse.Namespace) -> None:
    """Train the peer, with a snapshot of its EMA weights at equal intervals."""
    folder, images = options.folder / "peer", plan[PEER]
    folder.mkdir(exist_ok=True)
    between = max(BATCH, round(images * options.every / options.minutes))
    peer, saved, seconds = Peer(images), folder / "state.pt", 0.0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        seconds = state.pop("seconds")
        peer.restore(state)
    while peer.seen < images:
        begun = time.perf_counter()
        peer.step()
        seconds += time.perf_counter() - begun
        if peer.seen // between > (peer.seen - BATCH) // between or peer.seen >= images:
            file = folder / f"{peer.seen:012d}.safetensors"
            save_file(peer.ema_weights(), file, {"seconds": str(seconds)})
            part = saved.with_suffix(".part")
            torch.save(peer.state() | {"seconds": seconds}, part)
            part.replace(saved)
            print(f"{PEER}: {peer.seen:,} of {images:,} images, {peer.seen / seconds:.1f} a second", flush=True)


def score_checkpoints(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The scores of each snapshot by both feature networks; those saved in the folder come first."""
    path = options.folder / "judged.json"
    lines = json.loads(path.read_text()) if path.exists() else []
    snapshots = [*limpid_snapshots(options), *peer_snapshots(options)]
    known = {(line["who"], line["images"], line["n"]) for line in lines}
    for who, seen, minutes, sample_images in snapshots:
        last = seen == max(images for name, images, *_ in snapshots if name == who)
        for n in (options.n, options.last) if last else (options.n,):
            if (who, seen, n) not in known:
                line = {"who": who, "minutes": minutes, "images": seen, "n": n}
                lines.append(line | distances(sample_images(n)))
                print(lines[-1], flush=True)
                path.write_text(json.dumps(lines, indent=1) + "\n")
                save({"about": about(options.device), "lines": lines}, options.out)
    return lines


def limpid_snapshots(options: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """Contestant, images seen, minutes of training, and a function that samples n images; for each checkpoint."""
    a_minute = plan_images(options)[LIMPID] / options.minutes
    for file in list_checkpoints(options.folder / "limpid" / "checkpoints"):
        if seen := read_data(file)["images_seen"]:
            yield LIMPID, seen, seen / a_minute, partial(limpid_images, file, options)


def limpid_images(file: Path, options: argparse.Namespace, n: int) -> Tensor:
    """n samples, with the sampling settings that the recipe has now."""
    runtime = Runtime(options.device).resolve().setup()
    pipeline = load(file, runtime=runtime)
    return pipeline.with_sampling(find_recipe(options.recipe).sampling).sample(n, batch_size=250).pixels


def peer_snapshots(options: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """The same for the snapshots of the peer."""
    a_minute = plan_images(options)[PEER] / options.minutes
    for file in sorted((options.folder / "peer").glob("[0-9]*.safetensors")):
        yield PEER, int(file.stem), int(file.stem) / a_minute, partial(peer_images, file)


@torch.no_grad()
def peer_images(file: Path, n: int, batch: int = 250) -> Tensor:
    """n samples by DDIM in 50 steps, which is faster and better than 50 steps of DDPM in its pipeline."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    net, noises = network(), DDIMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    net.load_state_dict(load_file(file))
    noises.set_timesteps(STEPS)
    rng, pixels = torch.Generator().manual_seed(0), []
    for first in range(0, n, batch):
        x = torch.randn(min(batch, n - first), 3, 32, 32, generator=rng)
        for t in noises.timesteps:
            x = noises.step(net.eval()(x, t).sample, t, x).prev_sample  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        pixels.append(to_uint8(x))
    return torch.cat(pixels)


def draw(lines: list[dict[str, Any]], path: Path) -> Path:
    """A plot for each feature network: the distance of both against minutes, all at the smaller n."""
    n = min(line["n"] for line in lines)
    plots = []
    for extractor in (key for key in lines[0] if key.startswith("ResNet")):
        series = []
        for who in dict.fromkeys(line["who"] for line in lines):
            points = [line for line in lines if line["who"] == who and line["n"] == n]
            points.sort(key=lambda line: line["minutes"])
            series.append(Curve(who, [p["minutes"] for p in points], [p[extractor] for p in points]))
        title = f"FD of {extractor}, {n:,} images"
        plots.append(Panel(series, title, x="minutes of training on two cores", log_y=True))
    return panels(plots, path)


if __name__ == "__main__":
    main()
