"""`limpid likelihood`: bits per dimension of real images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.evaluation.likelihood import LikelihoodConfig, bits_per_dim
from limpid.recipes.recipe import DataPlace
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint
from limpid.sampling.pipeline import load_checkpoint
from limpid.sampling.training_data import data_of_run


@dataclass(frozen=True)
class Likelihood:
    """Measure how likely a run finds real pictures, in bits per dimension."""

    protocol: Annotated[LikelihoodConfig, FLATTEN] = LikelihoodConfig()
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    weights: Literal["ema", "raw"] = "ema"
    """The average of the weights along training, or the last of them."""
    data: DataPlace = DataPlace()


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {"limpid likelihood RUN": Likelihood()}


def main(arguments: Sequence[str]) -> int:
    """`limpid likelihood RUN [options]`."""
    name, rest = positional("likelihood", "RUN", arguments)
    options = parse(Likelihood(), rest, f"limpid likelihood {name}")
    runtime = options.runtime.resolved().configure_process()
    ref = find_checkpoint(name)
    pipeline = load_checkpoint(ref, runtime, options.weights).with_data(data_of_run(ref.about, options.data.root, name))
    result = bits_per_dim(pipeline, options.protocol)
    echo(f"{result}; {options.weights} weights after {pipeline.images_seen:,} images")
    return 0
