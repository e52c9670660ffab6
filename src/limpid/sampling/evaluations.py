"""The number of network evaluations of sampling and editing, to show their progress."""

from limpid.diffusion.samplers import Dopri5, Heun, Sampler


def sampler_evaluations(sampler: Sampler, steps: int) -> int:
    """Network evaluations of a sampler in this many steps, the last one to sigma = 0; an estimate for `Dopri5`,
    which chooses its own steps."""
    if isinstance(sampler, Dopri5):
        return 6 * steps
    return 2 * steps - 1 if isinstance(sampler, Heun) else steps


def inpaint_evaluations(steps: int, resample: int) -> int:
    """Network evaluations of inpainting, which takes each step but the last one `resample` times."""
    return (steps - 1) * resample + 1


def img2img_evaluations(sampler: Sampler, steps: int, strength: float) -> int:
    """The approximate number of network evaluations of img2img at a strength."""
    return sampler_evaluations(sampler, round(steps * strength))
