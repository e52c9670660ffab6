"""The contestants: training steps and evaluations of limpid's networks and of the same networks in other projects.

Each function takes a batch and returns work that can be done again and again; `limpid.bench.timing.Apart` does it in a
process of its own. All see random pixels of 32x32, and drop nothing out: torch's dropout draws number by number on a
CPU, which would count against the peers.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from common_unet import CommonUNet
from torch import Tensor, nn

from limpid.bench.timing import Work
from limpid.data.images import ImageDataset
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.schedules import sampling_levels
from limpid.optim.optimizers import AdamW
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.recipes.registry import find_recipe
from limpid.runtime.device import TrainingRuntime
from limpid.sampling.sample import make_denoiser, seeded_noise
from limpid.training.loop import training_loop
from limpid.training.state import init_state

Precision = Literal["float32", "bfloat16"]
Size = Literal["cifar10", "cifar10-small"]
SHAPE = (3, 32, 32)
# google/ddpm-cifar10-32, field by field.
DDPM: dict[str, Any] = {
    "sample_size": 32,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
}
# The network of `cifar10-small` on patches of 2x2, but for its norms: diffusers has one number of groups for all maps.
SMALL: dict[str, Any] = DDPM | {
    "sample_size": 16,
    "in_channels": 12,
    "out_channels": 12,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
}
FIELDS: dict[Size, dict[str, Any]] = {"cifar10": DDPM, "cifar10-small": SMALL}


def recipe_of(size: Size, batch: int) -> Recipe:
    """limpid's recipe, learning by Adam without end, without classes, guidance, dropout, or what the peers have not."""
    recipe = find_recipe(size)
    network = replace(recipe.network, dropout=0.0, scale_shift=False)
    sampling = replace(recipe.sampling, guidance=Guidance())
    plain = replace(
        recipe,
        class_conditional=False,
        label_dropout=0.0,
        sampling=sampling,
        network=network,
        uncertainty_weighting=False,
    )
    return replace(plain, batch_size=batch, duration=2**62, optimizer=AdamW())


def pixels(n: int) -> Tensor:
    """Random images."""
    return torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def limpid_training(size: Size, precision: Precision, device: str, batch: int) -> Work:
    """limpid's step of training, from the batch's pixels on."""
    runtime, recipe = TrainingRuntime(device, precision).resolve().setup(), recipe_of(size, batch)
    source = ImageDataset(pixels(512), torch.zeros(512, dtype=torch.int64)).to(runtime.device)
    state = init_state(recipe, SHAPE, 0, runtime)
    return partial(next, training_loop(state, recipe, source, runtime))


def limpid_evaluation(size: Size, precision: Precision, device: str, batch: int) -> Work:
    """An evaluation of limpid's network, as its samplers take it."""
    runtime, recipe = TrainingRuntime(device, precision).resolve().setup(), recipe_of(size, batch)
    model = runtime.to_device(build_denoiser(recipe, SHAPE, 0)).eval()
    level = sampling_levels(recipe.sampling_schedule, 2)[1]
    x = level.sigma * seeded_noise(range(batch), SHAPE, runtime.device)()
    return partial(make_denoiser(model, recipe, None, runtime), x, level)


def diffusers_network(size: Size, device: str) -> nn.Module:
    """diffusers' network of the same layers."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    torch.manual_seed(0)
    net = UNet2DModel(**FIELDS[size])
    net.to(torch.device(device))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return Patched(net) if size == "cifar10-small" else Plain(net)


class Plain(nn.Module):
    """diffusers' network with its answer unwrapped."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(x, t, return_dict=False)[0]


class Patched(Plain):
    """The same on patches of 2x2."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(F.pixel_unshuffle(x, 2), t), 2)


def diffusers_training(size: Size, precision: Precision, device: str, batch: int) -> Work:
    """A step as in diffusers' unconditional example: AdamW, clipped at 1, a learning-rate schedule, an EMA."""
    from diffusers.optimization import get_scheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.training_utils import EMAModel

    net, noises = diffusers_network(size, device), DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    ema.to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    lr_schedule = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=1_000_000)
    x0 = (pixels(batch).float() / 127.5 - 1).to(device)

    def step() -> None:
        eps = torch.randn_like(x0)
        t = torch.randint(0, 1000, (batch,), device=device)
        x = noises.add_noise(x0, eps, t)  # pyright: ignore[reportArgumentType]
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16"):
            y = net(x, t)
        F.mse_loss(y.float(), eps.float()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        lr_schedule.step()
        optimizer.zero_grad()
        ema.step(net.parameters())

    return step


def diffusers_evaluation(size: Size, precision: Precision, device: str, batch: int) -> Work:
    """An evaluation of diffusers' network, as its pipelines take it."""
    net = diffusers_network(size, device).eval()
    x, t = torch.randn(batch, *SHAPE, device=device), torch.tensor(500, device=device)

    @torch.no_grad()
    def evaluate() -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16"):
            return net(x, t)

    return evaluate


def common_training(device: str, batch: int) -> Work:
    """A step as in the common PyTorch ports of DDPM: float32, Adam, clipped at 1, an EMA updated tensor by tensor."""
    torch.manual_seed(0)
    net = CommonUNet().to(device)
    ema = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4)
    lr_schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step, 5000) / 5000)
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).to(device)
    x0 = (pixels(batch).float() / 127.5 - 1).to(device)

    def step() -> None:
        optimizer.zero_grad()
        t, eps = torch.randint(1000, (batch,), device=device), torch.randn_like(x0)
        alpha_bar_t = alpha_bar[t].float()[:, None, None, None]
        x = alpha_bar_t.sqrt() * x0 + (1 - alpha_bar_t).sqrt() * eps
        F.mse_loss(net(x, t), eps, reduction="none").mean().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        lr_schedule.step()
        for name, value in net.state_dict().items():
            ema[name].copy_(ema[name] * 0.9999 + value * 0.0001)

    return step


def common_evaluation(device: str, batch: int) -> Work:
    """An evaluation of the commonly written network."""
    torch.manual_seed(0)
    net = CommonUNet().to(device).eval()
    x, t = torch.randn(batch, *SHAPE, device=device), torch.full((batch,), 500, device=device)
    return torch.no_grad()(partial(net, x, t))
