"""Every sampler there is."""

from typing import TypeAlias

from limpid.diffusion.multistep import DpmSolverPP
from limpid.diffusion.onestep import Ancestral, Ddim, Heun

Sampler: TypeAlias = Ancestral | Ddim | Heun | DpmSolverPP
