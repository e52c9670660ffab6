"""All samplers. Euler's method is `Ddim()`, and so is DPM-Solver++ of order 1."""

from typing import TypeAlias

from limpid.diffusion.samplers.dopri5 import Dopri5
from limpid.diffusion.samplers.multistep import Deis, DpmSolverPP, Lms, UniPC
from limpid.diffusion.samplers.singlestep import Ancestral, Ddim, DpmSolverPP2S, Heun

Sampler: TypeAlias = Ancestral | Ddim | Heun | DpmSolverPP | DpmSolverPP2S | UniPC | Deis | Lms | Dopri5

__all__ = ["Ancestral", "Ddim", "Deis", "Dopri5", "DpmSolverPP", "DpmSolverPP2S", "Heun", "Lms", "Sampler", "UniPC"]
