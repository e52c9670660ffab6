"""Images of noise and of plain colours, and where they are found in a sheet."""

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from limpid.viz.image_grid import (
    BACKGROUND,
)

SIZES = [(8, 8), (16, 16), (28, 28), (32, 32), (64, 64), (12, 30), (40, 17)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]


def noise(n: int, channels: int, height: int, width: int) -> UInt8[Tensor, "n c h w"]:
    """Images of noise that differ everywhere; opaque where they have alpha."""
    random_pixels = torch.randint(0, 256, (n, channels, height, width), generator=torch.Generator().manual_seed(0))
    pixels = random_pixels.to(torch.uint8)
    if channels in (2, 4):
        pixels[:, -1] = 255
    return pixels


def plain(n: int, height: int = 32, width: int = 32) -> UInt8[Tensor, "n c h w"]:
    """One colour each."""
    return torch.tensor(COLOURS[:n], dtype=torch.uint8)[:, :, None, None].expand(n, 3, height, width)


def array(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    assert image.mode == "RGB"
    return np.asarray(image)


def box(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The position of the image of one colour: left, top, right, bottom. All of it is on the sheet."""
    ys, xs = np.nonzero((array(sheet) == colour).all(2))
    left, top, right, bottom = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
    assert len(xs) == (right - left) * (bottom - top)
    return left, top, right, bottom


def ink(sheet: Image.Image) -> Bool[np.ndarray, "h w"]:
    """What is not ground."""
    return (array(sheet) != BACKGROUND).any(2)
