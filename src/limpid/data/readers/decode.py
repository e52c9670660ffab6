"""One image, read rightly: from the bytes of a file to pixels of the shape that is asked for.

Upright as its EXIF says, 16 bits scaled to 8, palettes and CMYK as colours, what is transparent over white; then cut,
and resized. Whatever is wrong with the bytes is a ValueError of one line. No format that runs another program is read.
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
"""What is read, as Pillow calls it. Not EPS, which is a program; nor formats that are known by no signature."""
MAX_PIXELS = 2**26
"""Pixels that an image may have, 8192x8192; known from its head, before memory is taken for them."""
SERIAL_ABOVE_PIXELS = 2**24
"""Images with more pixels are decoded one at a time, so that memory does not grow with the number of threads."""
DRAFT_FACTOR = 4
"""A JPEG is decoded at half, a quarter or an eighth if so many pixels are left for each one wanted, along each axis.

Photographs of 512x600 to 2048x2400 at 32 and 64 pixels: at most 4 of 255 off the whole decoding, 0.2 to 0.5 in the mean
(with 2 instead of 4: up to 14 and 1.2), in a half to a seventh of the time."""

_large = Lock()


@dataclass(frozen=True)
class ImageSpec:
    """What images are brought to: their shape, and how those of another aspect get it."""

    height: int
    width: int
    channels: Channels = "RGB"
    fit: Fit = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return len(self.channels), self.height, self.width


class DecodedImage(NamedTuple):
    """An image as it was read."""

    pixels: UInt8[Tensor, "c h w"]
    animated: bool
    """Whether it is the first of several frames."""
    enlarged: bool
    """Whether it had fewer pixels than were wanted, along both axes."""


def decode(blob: bytes, frame: ImageSpec) -> DecodedImage:
    """The image in the bytes of a file, brought to `frame`. Raises ValueError, in one line, if it cannot be read."""
    if not blob:
        raise ValueError("it is empty")
    try:
        with Image.open(BytesIO(blob), formats=_formats()) as image:
            return fit_to(image, frame)
    except UnidentifiedImageError as error:
        raise ValueError("it is in no known format") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it claims too many pixels: expected at most {MAX_PIXELS:,}") from error
    except Exception as error:  # Pillow answers broken files with nearly any exception there is
        raise ValueError(one_line(error)) from error


def fit_to(image: Image.Image, frame: ImageSpec) -> DecodedImage:
    """An open image, brought to `frame`. Raises ValueError if it has too many pixels, and whatever Pillow raises."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"it claims {width}x{height} pixels: expected at most {MAX_PIXELS:,}")
    animated = bool(getattr(image, "is_animated", False))
    wanted = DRAFT_FACTOR * max(frame.height, frame.width)
    if image.format == "JPEG":
        image.draft(None, (wanted, wanted))
    with _large if image.width * image.height > SERIAL_ABOVE_PIXELS else nullcontext():
        ImageOps.exif_transpose(image, in_place=True)
        window = image.crop(_window(image.size, frame)) if frame.fit == "crop" else image
        pixels = _planes(_coloured(window, image.format, frame.channels))
    enlarged = window.width < frame.width and window.height < frame.height
    return DecodedImage(_placed(pixels, frame), animated, enlarged)


@lru_cache(maxsize=1)
def _formats() -> list[str]:
    Image.init()
    return [name for name in IMAGE_FORMATS if name in Image.OPEN]  # Pillow reads AVIF from 11.3 on


def _window(size: tuple[int, int], frame: ImageSpec) -> tuple[int, int, int, int]:
    """The largest part of the frame's aspect, in the middle: left, top, right, bottom."""
    width, height = size
    across = max(1, min(width, round(height * frame.width / frame.height)))
    down = max(1, min(height, round(width * frame.height / frame.width)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def _coloured(image: Image.Image, format: str | None, channels: Channels) -> Image.Image:
    """The image in the mode of these channels; colours with alpha are multiplied by it, so that resizing mixes them."""
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
    """Grey of 16 bits as the nearest of 8: 65535 is 255."""
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).clip(0, 255).astype(np.uint8))


def _planes(image: Image.Image) -> UInt8[Tensor, "c h w"]:
    pixels = torch.from_numpy(np.array(image))
    return pixels.view(image.height, image.width, -1).permute(2, 0, 1)


def _placed(pixels: UInt8[Tensor, "c h w"], frame: ImageSpec) -> UInt8[Tensor, "c h2 w2"]:
    """Resized to the frame, or into its middle: what is then left is white, or transparent where there is alpha."""
    if frame.fit != "pad":
        return _unweighted(resize(pixels[None], (frame.height, frame.width))[0])
    _, height, width = pixels.shape
    scale = min(frame.height / height, frame.width / width)
    down, across = (max(2, round(side * scale)) for side in (height, width))
    top, left = (frame.height - down) // 2, (frame.width - across) // 2
    inner = _unweighted(resize(pixels[None], (down, across))[0])
    whole = torch.full(frame.shape, 0 if frame.channels == "RGBA" else 255, dtype=torch.uint8)
    whole[:, top : top + down, left : left + across] = inner
    return whole


def _unweighted(pixels: UInt8[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Colours that were multiplied by their alpha, divided by it again; other images as they are."""
    if len(pixels) != 4:
        return pixels
    colours, alpha = pixels[:3].int(), pixels[3:].int()
    whole = ((colours * 255 + alpha // 2) // alpha.clamp(min=1)).clamp(max=255)
    return torch.cat([whole.to(torch.uint8), pixels[3:]])
