"""The peer of time_to_quality.py: diffusers' unconditional example unchanged, with 1.6M parameters.

UNet2DModel, batch 16, float32, AdamW 1e-4 with 500 warm-up steps and a cosine, linear beta, eps, an EMA of power 3/4,
images by Pillow and a DataLoader.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from limpid.bench.timing import Work
from limpid.data import Cifar10
from limpid.data.images import to_uint8

STEPS, BATCH = 50, 16


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


def step_to_time() -> Work:
    """The peer's training step, to be timed."""
    return Peer(10**9).step


def train(folder: Path, images: int, snapshots: int) -> None:
    """Train the peer, with `snapshots` files of its EMA weights at equal intervals; it resumes by itself."""
    folder.mkdir(exist_ok=True)
    between = max(BATCH, images // snapshots)
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
            print(f"the peer: {peer.seen:,} of {images:,} images, {peer.seen / seconds:.1f} a second", flush=True)


@torch.no_grad()
def sample(file: Path, n: int, batch: int = 250) -> Tensor:
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
