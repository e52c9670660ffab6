"""`limpid likelihood`: bits per dimension of real images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.evaluation.likelihood import LikelihoodConfig, bits_per_dim
from limpid.recipes.recipe import DataPath
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint
from limpid.sampling.pipeline import load_checkpoint
from limpid.sampling.training_data import data_of_run


@dataclass(frozen=True)
class Likelihood:
    """Measure the likelihood of real images under a model, in bits per dimension: the negative log2 likelihood divided
    by channels x height x width. Lower is better."""

    protocol: Annotated[LikelihoodConfig, FLATTEN] = LikelihoodConfig()
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    weights: Literal["ema", "raw"] = "ema"
    """ema: the exponential moving average of the weights; raw: the weights of the last step."""
    data: DataPath = DataPath()


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid likelihood RUN": Likelihood()}


def main(arguments: Sequence[str]) -> int:
    """`limpid likelihood RUN [options]`."""
    name, rest = positional("likelihood", "RUN", arguments)
    options = parse(Likelihood(), rest, f"limpid likelihood {name}")
    runtime = options.runtime.resolve().setup()
    ref = find_checkpoint(name)
    pipeline = load_checkpoint(ref, runtime, options.weights).with_data(data_of_run(ref.about, options.data.root, name))
    result = bits_per_dim(pipeline, config=options.protocol)
    echo(f"{result}; {options.weights} weights after {pipeline.images_seen:,} images")
    return 0
