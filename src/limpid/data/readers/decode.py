"""One image: from the bytes of a file to pixels of a given shape.

Rotated by its EXIF data, 16 bits scaled to 8, palettes and CMYK converted to RGB, transparency composited over white;
then cropped and resized. Any fault of the bytes is a ValueError of one line. Formats that run another program are not
read.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from limpid.data.images import resize
from limpid.data.readers.messages import one_line

Channels: TypeAlias = Literal["L", "RGB", "RGBA"]
Fit: TypeAlias = Literal["crop", "stretch", "pad"]

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""The formats that are read, by Pillow's names. Not EPS, which is a program; nor formats without a signature."""
MAX_PIXELS = 2**26
"""Pixels that an image may have, 8192x8192; read from its header, before memory is allocated."""
SERIAL_ABOVE_PIXELS = 2**24
"""Images with more pixels are decoded one at a time, so that memory does not grow with the number of threads."""
DRAFT_FACTOR = 4
"""A JPEG is decoded at half, a quarter or an eighth if so many pixels are left for each one wanted, along each axis.

Photographs of 512x600 to 2048x2400 at 32 and 64 pixels: at most 4 of 255 off the whole decoding, 0.2 to 0.5 in the mean
(with 2 instead of 4: up to 14 and 1.2), in a half to a seventh of the time."""

_large = Lock()


@dataclass(frozen=True)
class ImageSpec:
    """The shape that images are converted to, and how those of another aspect ratio fit it."""

    height: int
    width: int
    channels: Channels = "RGB"
    fit: Fit = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return len(self.channels), self.height, self.width


class DecodedImage(NamedTuple):
    """An image as it was read, with what to report of it."""

    pixels: UInt8[Tensor, "c h w"]
    animated: bool
    """Whether it is the first of several frames."""
    enlarged: bool
    """Whether it was smaller than the target along both axes."""


def decode(blob: bytes, spec: ImageSpec) -> DecodedImage:
    """The image in the bytes of a file, converted to `spec`. Raises ValueError, in one line, if it cannot be read."""
    if not blob:
        raise ValueError("it is empty")
    try:
        with Image.open(BytesIO(blob), formats=_formats()) as image:
            return fit_to(image, spec)
    except UnidentifiedImageError as error:
        raise ValueError("it is in no known format") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it claims too many pixels: expected at most {MAX_PIXELS:,}") from error
    except Exception as error:  # Pillow raises nearly any exception for broken files
        raise ValueError(one_line(error)) from error


def fit_to(image: Image.Image, spec: ImageSpec) -> DecodedImage:
    """An open image, converted to `spec`. Raises ValueError if it has too many pixels, and whatever Pillow raises."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"it claims {width}x{height} pixels: expected at most {MAX_PIXELS:,}")
    animated = bool(getattr(image, "is_animated", False))
    wanted = DRAFT_FACTOR * max(spec.height, spec.width)
    if image.format == "JPEG":
        image.draft(None, (wanted, wanted))
    with _large if image.width * image.height > SERIAL_ABOVE_PIXELS else nullcontext():
        ImageOps.exif_transpose(image, in_place=True)
        window = image.crop(_window(image.size, spec)) if spec.fit == "crop" else image
        pixels = _planes(_coloured(window, image.format, spec.channels))
    enlarged = window.width < spec.width and window.height < spec.height
    return DecodedImage(_fitted(pixels, spec), animated, enlarged)


@lru_cache(maxsize=1)
def _formats() -> list[str]:
    Image.init()
    return [name for name in IMAGE_FORMATS if name in Image.OPEN]  # Pillow reads AVIF from 11.3 on


def _window(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int, int, int]:
    """The largest centred crop of the target's aspect ratio: left, top, right, bottom."""
    width, height = size
    across = max(1, min(width, round(height * spec.width / spec.height)))
    down = max(1, min(height, round(width * spec.height / spec.width)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def _coloured(image: Image.Image, format: str | None, channels: Channels) -> Image.Image:
    """The image in the mode of these channels; RGBA with colours premultiplied by alpha, so that resizing is right."""
    if image.mode.startswith("I;16") or (image.mode == "I" and format in ("PNG", "PPM")):
        image = _eight_bits(image)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are numbers of 32 bits, which have no known white: expected 8 or 16 bits")
    if channels == "RGBA":
        return image.convert("RGBA").convert("RGBa")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image if image.mode == channels else image.convert(channels)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as the nearest 8-bit grey: 65535 becomes 255."""
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).clip(0, 255).astype(np.uint8))


def _planes(image: Image.Image) -> UInt8[Tensor, "c h w"]:
    pixels = torch.from_numpy(np.array(image))
    return pixels.view(image.height, image.width, -1).permute(2, 0, 1)


def _fitted(pixels: UInt8[Tensor, "c h w"], spec: ImageSpec) -> UInt8[Tensor, "c h2 w2"]:
    """Resized to the target size, or centred in it with padding that is white, or transparent for RGBA."""
    if spec.fit != "pad":
        return _unpremultiplied(resize(pixels[None], (spec.height, spec.width))[0])
    _, height, width = pixels.shape
    scale = min(spec.height / height, spec.width / width)
    down, across = (max(2, round(side * scale)) for side in (height, width))
    top, left = (spec.height - down) // 2, (spec.width - across) // 2
    inner = _unpremultiplied(resize(pixels[None], (down, across))[0])
    padded = torch.full(spec.shape, 0 if spec.channels == "RGBA" else 255, dtype=torch.uint8)
    padded[:, top : top + down, left : left + across] = inner
    return padded


def _unpremultiplied(pixels: UInt8[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Premultiplied colours divided by their alpha again; images without alpha as they are."""
    if len(pixels) != 4:
        return pixels
    colours, alpha = pixels[:3].int(), pixels[3:].int()
    straight = ((colours * 255 + alpha // 2) // alpha.clamp(min=1)).clamp(max=255)
    return torch.cat([straight.to(torch.uint8), pixels[3:]])
