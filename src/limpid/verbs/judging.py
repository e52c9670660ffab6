"""Judging: `limpid likelihood`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from limpid.density import Protocol, density
from limpid.learning.machine import Machine
from limpid.options import INLINE, parse
from limpid.sample import load
from limpid.verbs.names import named


@dataclass(frozen=True)
class Likelihood:
    """Measure how likely a run finds real pictures, in bits per dimension."""

    protocol: Annotated[Protocol, INLINE] = Protocol()
    machine: Annotated[Machine, INLINE] = Machine()
    weights: Literal["average", "model"] = "average"
    """The average of the weights along training, or the last of them."""


def likelihood(arguments: Sequence[str]) -> int:
    """`limpid likelihood RUN [options]`."""
    name, rest = named("likelihood", "RUN", arguments)
    options = parse(Likelihood(), rest, f"limpid likelihood {name}")
    machine = options.machine.resolved()
    trained = load(name, machine, options.weights)
    print(f"{density(trained, options.protocol, machine)}; {options.weights} weights after {trained.seen:,} images")
    return 0
