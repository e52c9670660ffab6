"""`limpid export tensorboard`: the log, sample grids and recipe of a run as TensorBoard's event file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limpid.cli.parser import parse, positional
from limpid.interop.run_history import read_history
from limpid.interop.tensorboard_events import TensorBoardEvents, check_tensorboard_installed
from limpid.runtime.terminal import echo


@dataclass(frozen=True)
class ExportTensorBoard:
    """Write the log, sample grids and recipe of a run for TensorBoard, over the number of images seen."""

    out: Path
    """The folder to write to; an event file in it is replaced."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid export tensorboard RUN": ExportTensorBoard(Path("RUN/tensorboard"))}


def main(arguments: Sequence[str]) -> int:
    """`limpid export tensorboard RUN [options]`."""
    name, rest = positional("export tensorboard", "RUN", arguments)
    options = parse(ExportTensorBoard(Path(name) / "tensorboard"), rest, f"limpid export tensorboard {name}")
    check_tensorboard_installed()
    events = TensorBoardEvents(options.out, read_history(Path(name)))
    events.close()
    echo(options.out)
    echo(f"to look at it: tensorboard --logdir {options.out}", to_stderr=True)
    return 0
