"""The demos: handwritten digits, from random weights to samples in minutes, with EDM or with DDPM."""

from dataclasses import replace

from limpid.data import Digits
from limpid.data.augment import Augment
from limpid.diffusion.denoiser import LogSigma, Timestep
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Ancestral, Heun
from limpid.diffusion.schedules import Karras, LinearBeta, LogNormal
from limpid.diffusion.targets import Edm, Eps
from limpid.nets import UNet
from limpid.optim.ema import Ema
from limpid.optim.optimizers import Muon
from limpid.recipes.recipe import Every, Recipe, Sampling


def demo() -> Recipe:
    """1,797 real handwritten digits at 16x16, class-conditional; 1.1M parameters.

    Cost: one to two minutes on two CPU cores.
    """
    return Recipe(
        duration=24_000,
        batch_size=32,
        data=Digits(),
        augment=Augment(flip=0.0),
        network=UNet(model_channels=32, channel_mult=(1, 2, 2), num_blocks=1, attn_resolutions=(8,), dropout=0.0),
        class_conditional=True,
        label_dropout=0.1,
        schedule=LogNormal(),
        target=Edm(),
        noise_conditioning=LogSigma(),
        optimizer=Muon(lr=4e-3, warmup_images=1_600, lr_schedule="cosine"),
        ema=Ema(halflife=3_000.0),
        sampling=Sampling(
            steps=20, sampler=Heun(), schedule=Karras(sigma_min=0.05), clip_denoised=False, guidance=Guidance(1.5)
        ),
        every=Every(log=640, sample=6_400, save=12_000),
    )


def demo_ddpm() -> Recipe:
    """DDPM as Ho et al. (2020) describe it, on the digits of `demo`: T = 1000, beta linear, predicting eps.

    Cost: about three minutes on two CPU cores. It samples in 100 of its 1000 steps; `--steps 1000` takes all of them.
    """
    recipe = demo()
    return replace(
        recipe,
        network=replace(recipe.network, scale_shift=True),  # without it some samples keep a grain of noise
        schedule=LinearBeta(),
        target=Eps(),
        noise_conditioning=Timestep(),
        sampling=Sampling(steps=100, sampler=Ancestral(), guidance=Guidance(1.5)),
    )
