"""One picture from one file, in the shape that is asked for."""

from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from limpid.data.decode import Channels, ImageSpec
from limpid.data.places import read_file
from limpid.terminal import printable

MODES: dict[int, Channels] = {1: "L", 3: "RGB", 4: "RGBA"}
"""What Pillow calls pictures of so many channels."""


def read_image(path: Path | str, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    """The picture in a file, cut at its longer sides and resized to `shape`. Raises ValueError if it cannot be read."""
    channels, height, width = shape
    if channels not in MODES:
        raise ValueError(f"a file cannot be read as a picture of {channels} channels: expected 1, 3 or 4")
    try:
        return read_file(Path(path), ImageSpec(height, width, MODES[channels])).pixels
    except ValueError as error:
        raise ValueError(f"cannot read the picture {printable(str(path))}: {error}") from error
