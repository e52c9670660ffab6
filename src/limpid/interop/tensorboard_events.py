"""Runs for TensorBoard: the log, the sample grids and the recipe as an event file, over the number of images seen.

The file begins with the mark of a restart at step 0, at which a reader forgets the files before it. So each time that
the history of a run is written anew, as after a resume or a rollback, no value is there twice.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from limpid.interop.run_history import RunHistory, scalars_of_line


def check_tensorboard_installed() -> None:
    """Raise ValueError if the package is missing."""
    if find_spec("tensorboard") is None:
        raise ValueError("TensorBoard's files need tensorboard: pip install 'limpid-diffusion[tracking]'")


class TensorBoardEvents:
    """The event file of a run, in a folder where it replaces earlier ones."""

    def __init__(self, folder: Path, history: RunHistory) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        former = list(folder.glob("events.out.tfevents.*"))
        self.writer = SummaryWriter(str(folder), purge_step=0)
        self._add_recipe(history)
        for line in history.lines:
            self.add_line(line, line["images_seen"])
        for images_seen, grid in history.grids.items():
            self.add_grid(grid, images_seen)
        self.writer.flush()
        for file in former:
            file.unlink(missing_ok=True)

    def add_line(self, line: Mapping[str, Any], images_seen: int) -> None:
        """Add the numbers of a line of the log."""
        for name, value in scalars_of_line(line).items():
            self.writer.add_scalar(name, value, images_seen)

    def add_grid(self, grid: Path, images_seen: int) -> None:
        """Add a sample grid: the bytes of its PNG file as they are."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        with Image.open(grid) as image:
            width, height = image.size
        content = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=grid.read_bytes())
        self._add(Summary(value=[Summary.Value(tag="samples", image=content)]), images_seen)

    def flush(self) -> None:
        """Write what was added so far to the file."""
        self.writer.flush()

    def close(self) -> None:
        """Write all, and close the file."""
        self.writer.close()

    def _add_recipe(self, history: RunHistory) -> None:
        """The recipe as hyperparameters, with the values of the log as their metrics, and as text."""
        from torch.utils.tensorboard.summary import hparams

        scores = [name for line in history.lines for name in line if "loss" not in line and name != "images_seen"]
        for summary in hparams(history.hyperparameters, dict.fromkeys(["loss", *scores], 0.0)):
            self._add(summary, 0)
        indented = "\n".join(f"    {line}" for line in history.recipe.splitlines())  # a block of code in Markdown
        self.writer.add_text("recipe", indented)

    def _add(self, summary: Any, images_seen: int) -> None:
        assert self.writer.file_writer is not None
        self.writer.file_writer.add_summary(summary, images_seen)
