"""The demo: handwritten digits, from nothing to pictures in a minute."""

from limpid.data import Digits
from limpid.data.augment import Augment
from limpid.diffusion.denoiser import LogRatio
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Heun
from limpid.diffusion.schedules import Karras, LogNormal
from limpid.diffusion.targets import Edm
from limpid.learning.average import Ema
from limpid.learning.optim import Muon
from limpid.nets import UNet
from limpid.recipe import Every, Recipe, Sampling


def demo() -> Recipe:
    """1,797 real handwritten digits at 16x16, drawn by class; 1.1M parameters.

    Cost: a minute on two CPU cores.
    """
    return Recipe(
        images=24_000,
        batch=32,
        data=Digits(),
        augment=Augment(flip=0.0),
        network=UNet(width=32, multipliers=(1, 2, 2), blocks=1, attention=(8,), dropout=0.0),
        conditional=True,
        label_dropout=0.1,
        schedule=LogNormal(),
        target=Edm(),
        condition=LogRatio(),
        optimizer=Muon(rate=4e-3, warmup=1_600, decay="cosine"),
        average=Ema(half_life=3_000.0),
        sampling=Sampling(steps=20, sampler=Heun(), levels=Karras(sigma_min=0.05), clip=False, guidance=Guidance(0.5)),
        every=Every(log=640, sample=6_400, save=12_000),
    )
