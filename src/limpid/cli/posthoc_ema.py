"""`limpid posthoc-ema`: the EMA of another length, computed after training."""

from collections.abc import Sequence
from dataclasses import dataclass

from limpid.cli.parser import parse, positional
from limpid.runtime.terminal import echo
from limpid.storage.posthoc_ema import build_posthoc_ema


@dataclass(frozen=True)
class PosthocEma:
    """Compute the power-function EMA of any length from the snapshots of a run (Karras et al. 2024)."""

    std: float = 0.1
    """Relative length of the EMA: the standard deviation of its profile, as a fraction of the run."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid posthoc-ema RUN": PosthocEma()}


def main(arguments: Sequence[str]) -> int:
    """`limpid posthoc-ema RUN [options]`."""
    name, rest = positional("posthoc-ema", "RUN", arguments)
    options = parse(PosthocEma(), rest, f"limpid posthoc-ema {name}")
    echo(build_posthoc_ema(name, options.std))
    return 0
