"""Samplers that remember: one evaluation a step, and what the last steps saw is extrapolated to the next."""

from collections.abc import Iterator
from dataclasses import dataclass

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.steps import Noise, Step, moves, step_x0


@dataclass(frozen=True)
class DpmSolverPP:
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): order 2, one evaluation a step, for 10 to 30 steps.

    The picture is extrapolated along log-SNR from the last two; the first and the last step are of order 1.
    """

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[Step]:
        before = None
        for here, there in moves(levels):
            x0 = denoise(x, here)
            ahead = x0
            if before is not None and there.sigma > 0:
                last_x0, last = before
                r = (here.logsnr - last.logsnr) / (there.logsnr - here.logsnr)
                ahead = x0 + (x0 - last_x0) / (2 * r)
            x, before = step_x0(x, ahead, here, there), (x0, here)
            yield Step(x, x0, there)
