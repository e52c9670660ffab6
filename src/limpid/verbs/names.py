"""The names that a command is given: the one that it begins with, and those of networks that guide."""

from collections.abc import Sequence

from limpid.learning import parallel
from limpid.learning.machine import Runtime
from limpid.recipe import Sampling
from limpid.recipes import RECIPES
from limpid.sample import Pipeline, find_checkpoint, load_checkpoint


def positional(verb: str, what: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The name that a verb begins with, and the rest. Raises ValueError without one."""
    if not arguments or arguments[0].startswith("-"):
        names = f" ({', '.join(RECIPES)})" if what == "RECIPE" else ""
        raise ValueError(f"limpid {verb} needs a {what}{names}: limpid {verb} {what} [options]")
    return arguments[0], list(arguments[1:])


def guides_for(samplings: Sequence[Sampling], runtime: Runtime) -> list[Pipeline | None]:
    """The weaker network that guides each of these ways to draw, or None; a run that goes on meanwhile is found once,
    by the first process for all."""
    used = [sampling.guidance_model if sampling.guidance.weight else "" for sampling in samplings]
    refs = parallel.broadcast_object(lambda: {name: find_checkpoint(name) for name in dict.fromkeys(used) if name})
    networks = {name: load_checkpoint(ref, runtime) for name, ref in refs.items()}
    return [networks.get(name) for name in used]
