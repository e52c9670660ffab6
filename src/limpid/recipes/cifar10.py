"""CIFAR-10: the paper's run, the same at 64x64, and a small one for a laptop."""

from limpid.data import Cifar10
from limpid.diffusion.denoiser import LogRatio
from limpid.diffusion.samplers import Heun
from limpid.diffusion.schedules import Karras, LogNormal
from limpid.diffusion.targets import Edm
from limpid.learning.average import Ema
from limpid.learning.optim import Adam
from limpid.nets import UNet
from limpid.recipe import Every, Recipe, Sampling


def cifar10() -> Recipe:
    """DDPM on CIFAR-10 at 32x32, 35.7M parameters, as Ho et al. (2020) trained it.

    Cost: 102M images; 10.6 hours on a TPU v3-8. Published FID: 3.17 (1000 steps, 50,000 pictures).
    """
    return Recipe()


def cifar10_64() -> Recipe:
    """The same, with the pictures resized to 64x64.

    Cost: four times the arithmetic of `cifar10` for each image. Published FID: none.
    """
    return Recipe(data=Cifar10(size=64))


def cifar10_small() -> Recipe:
    """CIFAR-10 at 32x32 on a laptop: 1.6M parameters on 2x2 patches, EDM's target, level and sampler.

    Cost: half an hour on two CPU cores. Karras et al. (2022) reach FID 1.97 with 55.7M parameters and 200M images.
    """
    return Recipe(
        images=512_000,
        batch=32,
        network=UNet(width=32, multipliers=(1, 2, 2), blocks=2, attention=(8,), dropout=0.0, patch=2),
        schedule=LogNormal(),
        target=Edm(),
        condition=LogRatio(),
        optimizer=Adam(rate=2e-3, warmup=6_400, decay="linear"),
        average=Ema(half_life=11_000),
        sampling=Sampling(steps=25, sampler=Heun(), levels=Karras(), clip=False),
        every=Every(log=3_200, sample=64_000, save=32_000),
    )
