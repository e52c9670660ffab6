"""CIFAR-10: the training runs of the papers, with their hyperparameters, and a small one for a laptop.

Two details differ from the papers in all of them: noise levels are stratified over the batch, and a learning rate or an
EMA that depends on the number of images counts those of the current step too.
"""

import math
from dataclasses import replace

from limpid.data import Cifar10, Folder
from limpid.data.augment import Augment
from limpid.diffusion.denoiser import LogSigma, Timestep
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP, Heun
from limpid.diffusion.schedules import Cosine, Karras, LogNormal, RectifiedFlow
from limpid.diffusion.targets import Edm, Flow, V
from limpid.nets import UNet
from limpid.optim.ema import Ema
from limpid.optim.optimizers import AdamW, Muon
from limpid.recipes.recipe import Every, Recipe, Sampling


def cifar10() -> Recipe:
    """DDPM on CIFAR-10 at 32x32, 35.7M parameters, as Ho et al. (2020) trained it.

    Cost: 102M images; 10.6 hours on a TPU v3-8. Published FID: 3.17 (1000 steps, 50,000 samples).
    """
    return Recipe()


def cifar10_64() -> Recipe:
    """`cifar10` with the images resized to 64x64.

    Cost: four times the arithmetic of `cifar10` for each image. Published FID: none.
    """
    return Recipe(data=Cifar10(size=64))


def cifar10_iddpm() -> Recipe:
    """Improved DDPM (Nichol and Dhariwal 2021) on CIFAR-10 with the flags of their code: cosine schedule of 4000 steps,
    learned variance with the hybrid loss, 4 attention heads, no flips; 52.5M parameters.

    Cost: 64M images. Published FID: 2.90 to 3.3 (4000 steps).
    """
    network = UNet(
        128, num_blocks=3, attn_resolutions=(16, 8), dropout=0.3, scale_shift=True, head_channels=64, arch="iddpm"
    )
    return Recipe(
        duration=64_000_000,
        augment=Augment(flip=0.0),
        network=network,
        schedule=Cosine(T=4000),
        learned_variance=True,
        noise_conditioning=Timestep(steps=4000, rescale_timesteps=True),
        optimizer=AdamW(lr=1e-4, max_grad_norm=math.inf),
        ema=Ema(halflife=887_184.0, rampup_ratio=0.0),  # 0.9999 a step
        sampling=Sampling(steps=4000, sampler=Ancestral("learned")),
    )


def cifar10_v() -> Recipe:
    """v-prediction on the cosine schedule (Salimans and Ho 2022), with DDPM's network.

    Cost: as `cifar10`. Published FID: none for this network.
    """
    schedule, sampling = Cosine(), Sampling(steps=50, sampler=Ddim())
    return Recipe(schedule=schedule, target=V(), sampling=sampling)


def cifar10_edm() -> Recipe:
    """EDM (Karras et al. 2022) on CIFAR-10 with the network of their code, a DDPM++ of 55,732,739 parameters.

    Of their augmentation limpid has the horizontal flip only: they also flip vertically, scale, stretch, rotate and
    shift images, each with probability 0.12, and condition the network on it. Their loss is a sum over the values of
    an image, and here it is a mean: Adam takes the same steps for both, apart from its eps of 1e-8.

    Cost: 200M images, about 384 V100-hours. Published FID: 1.97 (Heun, 35 evaluations), with their augmentation.
    """
    network = UNet(128, (2, 2, 2), num_blocks=4, attn_resolutions=(16,), dropout=0.13, resample="biggan", arch="ddpmpp")
    return Recipe(
        duration=200_000_000,
        batch_size=512,
        network=network,
        schedule=LogNormal(),
        target=Edm(),
        noise_conditioning=LogSigma(),
        optimizer=AdamW(lr=1e-3, warmup_images=10_000_000, max_grad_norm=math.inf),
        ema=Ema(halflife=500_000.0),
        sampling=Sampling(steps=18, sampler=Heun(), schedule=Karras(), clip_denoised=False),
    )


def cifar10_flow() -> Recipe:
    """Flow matching (Lipman et al. 2022) with independent pairs and DDPM's network: the straight path and its velocity.

    Cost: 51M images; 19 hours on an RTX 4090 for torchcfm's network, which reaches FID 3.5 with pairs by optimal
    transport. Published FID: none for this network.
    """
    sampling = Sampling(steps=50, sampler=Heun(), clip_denoised=False)
    return Recipe(
        duration=51_200_000,
        schedule=RectifiedFlow(),
        target=Flow(),
        optimizer=AdamW(warmup_images=640_000),
        sampling=sampling,
    )


def cifar10_cond() -> Recipe:
    """`cifar10` conditioned on the class, with a tenth of the labels dropped for classifier-free guidance.

    Cost: as `cifar10`. Published FID: none for this network.
    """
    return Recipe(class_conditional=True, label_dropout=0.1)


def cifar10_edm_cond() -> Recipe:
    """`cifar10-edm` conditioned on the class of each image (Karras et al. 2022, table 2).

    Cost: as `cifar10-edm`. Published FID: 1.79 (Heun, 35 evaluations), with their augmentation.
    """
    return replace(cifar10_edm(), class_conditional=True)


def cifar10_small() -> Recipe:
    """CIFAR-10 at 32x32 on a laptop: 1.75M parameters on 2x2 patches, EDM's target, class-conditional.

    Cost: half an hour on two CPU cores. Karras et al. (2022) reach FID 1.79 with 55.7M parameters and 200M images.
    """
    return Recipe(
        duration=512_000,
        batch_size=32,
        network=UNet(
            32, channel_mult=(1, 2, 2), num_blocks=2, attn_resolutions=(8,), dropout=0.0, patch_size=2, scale_shift=True
        ),
        class_conditional=True,
        label_dropout=0.1,
        schedule=LogNormal(mean=-0.8),
        target=Edm(),
        noise_conditioning=LogSigma(),
        uncertainty_weighting=True,
        optimizer=Muon(lr=5e-3, warmup_images=6_400, lr_schedule="linear"),
        ema=Ema(halflife=11_000.0),
        # The guidance scale, sampler, steps and the last level were chosen on 1,000 samples each: see LOG.md.
        sampling=Sampling(
            10, DpmSolverPP(), schedule=Karras(sigma_min=0.05), clip_denoised=False, guidance=Guidance(3.0)
        ),
        every=Every(log=3_200, sample=64_000, save=32_000),
    )


def cifar10_64_small() -> Recipe:
    """DDPM at 64x64 on a laptop: the process of `cifar10-64` with the network of `cifar10-small`, class-conditional.

    The loss at each level is divided by its learned size (Karras et al. 2024, section 3.2): unweighted, the samples of
    a network this small have wrong colours (LOG.md). A fifth of the labels is dropped, so that it also samples without.

    Cost: 1.5M images; 11 hours on one CPU core at 38 images/s. Published FID: none.
    """
    return Recipe(
        data=Cifar10(size=64),
        duration=1_536_000,
        batch_size=32,
        network=cifar10_small().network,
        class_conditional=True,
        label_dropout=0.2,
        uncertainty_weighting=True,
        optimizer=Muon(lr=5e-3, warmup_images=6_400, lr_schedule="linear"),
        ema=Ema(halflife=30_000.0),
        sampling=Sampling(20, DpmSolverPP(), guidance=Guidance(3.0)),
        every=Every(log=6_400, sample=128_000, save=12_800, milestone=51_200),
    )


def cifar10_fast() -> Recipe:
    """CIFAR-10 in minutes on one large GPU: target and noise levels of `cifar10-small`, 26.7M parameters, no patches.

    Cost: 4M images; not run yet. Published FID: none for this network.
    """
    small = cifar10_small()
    return replace(
        small,
        duration=4_000_000,
        batch_size=256,
        network=UNet(
            128, (1, 2, 2), num_blocks=(1, 2, 2), attn_resolutions=(8,), dropout=0.0, scale_shift=True, head_channels=64
        ),
        optimizer=AdamW(lr=1e-3, warmup_images=128_000, lr_schedule="linear"),
        ema=Ema(halflife=80_000.0),
        sampling=replace(small.sampling, schedule=Karras(), guidance=Guidance(2.0)),
        every=Every(log=25_600, sample=1_000_000, save=1_000_000),
    )


def small() -> Recipe:
    """Your own images at 32x32, without classes: `limpid train small --data.root FOLDER`. Otherwise as cifar10-small.

    Cost: half an hour on two CPU cores. No FID is published: it depends on the images.
    """
    recipe = cifar10_small()
    sampling = replace(recipe.sampling, guidance=Guidance())
    return replace(recipe, data=Folder(), class_conditional=False, label_dropout=0.0, sampling=sampling)
