"""The names that a command is given: the one that it begins with, and those of networks that guide."""

from collections.abc import Sequence

from limpid.learning import parallel
from limpid.learning.machine import Machine
from limpid.recipe import Sampling
from limpid.recipes import RECIPES
from limpid.sample import Trained, find_checkpoint, load_checkpoint


def named(verb: str, what: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The name that a verb begins with, and the rest. Raises ValueError without one."""
    if not arguments or arguments[0].startswith("-"):
        names = f" ({', '.join(RECIPES)})" if what == "RECIPE" else ""
        raise ValueError(f"limpid {verb} needs a {what}{names}: limpid {verb} {what} [options]")
    return arguments[0], list(arguments[1:])


def guides_for(samplings: Sequence[Sampling], machine: Machine) -> list[Trained | None]:
    """The weaker network that guides each of these ways to draw, or None; a run that goes on meanwhile is found once,
    by the first process for all."""
    used = [sampling.guide if sampling.guidance.weight else "" for sampling in samplings]
    refs = parallel.told(lambda: {name: find_checkpoint(name) for name in dict.fromkeys(used) if name})
    networks = {name: load_checkpoint(ref, machine) for name, ref in refs.items()}
    return [networks.get(name) for name in used]
