"""One picture from one file, in the shape that is asked for."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""What Pillow calls pictures of so many channels."""


def picture(path: Path | str, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    """The picture in a file, cut at its longer sides and resized to `shape`. Raises ValueError if it cannot be read."""
    channels, height, width = shape
    if channels not in MODES:
        raise ValueError(f"a file cannot be read as a picture of {channels} channels: expected 1 to 4")
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert(MODES[channels])
    except OSError as error:
        raise ValueError(f"cannot read the picture {path}: {error.strerror or 'it is in no known format'}") from error
    fitted = np.array(ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(fitted).view(height, width, channels).permute(2, 0, 1).contiguous()
