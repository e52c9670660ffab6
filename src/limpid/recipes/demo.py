"""The demo: handwritten digits, from random weights to samples in a minute or two."""

from limpid.data import Digits
from limpid.data.augment import Augment
from limpid.diffusion.denoiser import LogSigma
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Heun
from limpid.diffusion.schedules import Karras, LogNormal
from limpid.diffusion.targets import Edm
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
