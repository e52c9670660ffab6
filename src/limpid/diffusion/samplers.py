"""Every sampler there is. Euler's method is `Ddim()`, and DPM-Solver++ of order 1 too."""

from typing import TypeAlias

from limpid.diffusion.adaptive import Dopri5
from limpid.diffusion.multistep import Deis, DpmSolverPP, Lms, UniPC
from limpid.diffusion.onestep import Ancestral, Ddim, DpmSolverPP2S, Heun

Sampler: TypeAlias = Ancestral | Ddim | Heun | DpmSolverPP | DpmSolverPP2S | UniPC | Deis | Lms | Dopri5
