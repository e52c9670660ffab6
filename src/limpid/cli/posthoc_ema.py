"""`limpid average`: an EMA of any length, built after the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limpid.cli.parser import parse, positional
from limpid.optim.ema import folder_name, linear_combination, solve_posthoc_coefficients
from limpid.runtime.terminal import echo
from limpid.storage import checkpoint
from limpid.storage.lock import waiting_lock
from limpid.storage.regular_files import refuse_linked_folders


@dataclass(frozen=True)
class PosthocEma:
    """Build the power-function average of any length from those that a run has kept (Karras et al. 2024)."""

    std: float = 0.1
    """Its relative length: the standard deviation of its memory, as a share of the run."""


def main(arguments: Sequence[str]) -> int:
    """`limpid average RUN [options]`."""
    name, rest = positional("average", "RUN", arguments)
    options = parse(PosthocEma(), rest, f"limpid average {name}")
    refuse_linked_folders(Path(name))
    files = [
        file for folder in sorted(Path(name, "snapshots").glob("*")) for file in checkpoint.list_checkpoints(folder)
    ]
    if not files:
        raise ValueError(f"{name} has kept no averages: train with --ema-snapshots 0.05 0.1")
    data = [checkpoint.read_data(file) for file in files]
    seen = max(one["images_seen"] for one in data)
    shares = solve_posthoc_coefficients([(one["images_seen"], one["std"]) for one in data], (seen, options.std))
    tensors = linear_combination([checkpoint.read_tensors(file) for file in files], shares)
    last = data[-1] | {"images_seen": seen, "std": options.std}
    averages = Path(name, "averages")
    with waiting_lock(averages / "lock"):
        echo(checkpoint.save_checkpoint(averages / folder_name(options.std), seen, tensors, last))
    return 0
