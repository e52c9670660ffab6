"""An image of any size brought to the shape of a set: cropped in the middle, stretched or padded, and resized."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from limpid.data.images import resize
from limpid.data.readers.values import ValueRange, pixels_from_values, value_range_of

Mode: TypeAlias = Literal["L", "RGB", "RGBA"]
Channels: TypeAlias = Mode | int
Fit: TypeAlias = Literal["crop", "stretch", "pad"]
Pad: TypeAlias = Literal["white", "black"]
Pages: TypeAlias = Literal["first", "all"]
Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom."""

MAX_PIXELS = 2**26
"""Pixels that an image may have, 8192x8192; read from its header, before memory is allocated."""


@dataclass(frozen=True)
class ImageSpec:
    """The shape that images are converted to, and how those of another aspect ratio or of other values fit it."""

    height: int
    width: int
    channels: Channels = "RGB"
    """Grey, colours, or colours and alpha, to which images are converted; or the number of channels that they have."""
    fit: Fit = "crop"
    pad: Pad = "white"
    """What is around an image that is padded; for RGBA it is transparent."""
    value_range: ValueRange | None = None
    """The values that become black and white, for images of more than 8 bits and arrays; None: as of their type."""
    pages: Pages = "first"
    """Which pages or frames of a file are read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels = self.channels if isinstance(self.channels, int) else len(self.channels)
        return channels, self.height, self.width


class DecodedImage(NamedTuple):
    """An image as it was read, with what to report of it."""

    pixels: UInt8[Tensor, "c h w"]
    page: int = 0
    """Its position among the pages or frames of its file."""
    has_more: bool = False
    """Whether its file has pages or frames that were not read."""
    others: tuple["DecodedImage", ...] = ()
    """The other pages or frames of its file, where they are read."""
    enlarged: bool = False
    """Whether it was smaller than the target along both axes, and was resized."""
    value_range: ValueRange | None = None
    """The values that became black and white; None for image files of 8 bits."""
    highest: float = 0
    """The largest of the values of which `value_range` speaks."""


def fit_array(array: np.ndarray, spec: ImageSpec, inverted: bool = False) -> DecodedImage:
    """An array of height x width, or of height x width x channels, of any real numbers, as an image of `spec`.

    If `inverted`, the smallest value becomes white. Raises ValueError for another shape, another number of channels,
    and values without a known white.
    """
    if array.ndim not in (2, 3) or 0 in array.shape:
        expected = "expected height x width, or height x width x channels"
        raise ValueError(f"its shape is {' x '.join(map(str, array.shape)) or '()'}: {expected}")
    height, width = array.shape[:2]
    if height * width > MAX_PIXELS:
        raise ValueError(f"it has {width}x{height} pixels: expected at most {MAX_PIXELS:,}")
    value_range = value_range_of(array, spec.value_range)
    if inverted:
        value_range = ValueRange(value_range.white, value_range.black)
    left, top, right, bottom = crop_box((width, height), spec)
    window = pixels_from_values(array[top:bottom, left:right].reshape(bottom - top, right - left, -1), value_range)
    decoded = fit_planes(planes_of(window, spec.channels), spec)
    return decoded._replace(value_range=value_range, highest=float(array.max()))


def crop_box(size: tuple[int, int], spec: ImageSpec) -> Box:
    """The largest centred crop of the target's aspect ratio in an image of this width and height; or all of it."""
    width, height = size
    if spec.fit != "crop":
        return 0, 0, width, height
    across = max(1, min(width, round(height * spec.width / spec.height)))
    down = max(1, min(height, round(width * spec.height / spec.width)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def planes_of(pixels: UInt8[np.ndarray, "h w n"], channels: Channels) -> UInt8[Tensor, "c h w"]:
    """Pixels converted to these channels, RGBA premultiplied by alpha. Raises ValueError for other numbers of them."""
    given, pixels = pixels.shape[2], np.ascontiguousarray(pixels)
    if isinstance(channels, int):
        check_channels(given, channels)
        return torch.from_numpy(pixels).permute(2, 0, 1)
    if given not in (1, 3, 4):
        raise ValueError(f"it has {given} channels: expected 1, 3 or 4; --data.channels {given} reads them as they are")
    return channels_of_image(Image.fromarray(pixels[:, :, 0] if given == 1 else pixels), channels)


def channels_of_image(image: Image.Image, channels: Channels) -> UInt8[Tensor, "c h w"]:
    """An image of 8 bits converted to these channels, RGBA premultiplied by alpha; a number of them is as it is stored.

    Raises ValueError if it has another number of channels.
    """
    if isinstance(channels, int):
        if image.mode in ("1", "P", "PA"):
            image = image.convert("L" if image.mode == "1" else "RGBA" if image.has_transparency_data else "RGB")
        check_channels(len(image.getbands()), channels)
    else:
        image = image_in_mode(image, channels)
    pixels = torch.from_numpy(np.array(image))
    return pixels.view(image.height, image.width, -1).permute(2, 0, 1)


def check_channels(given: int, expected: int) -> None:
    """Raise ValueError if an image has another number of channels."""
    if given != expected:
        raise ValueError(f"it has {given} channels: expected {expected}; --data.channels {given} reads them")


def image_in_mode(image: Image.Image, mode: Mode) -> Image.Image:
    """An image of 8 bits in a mode; RGBA with colours premultiplied by alpha, so that resizing mixes them rightly."""
    if mode == "RGBA":
        return image.convert("RGBA").convert("RGBa")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image if image.mode == mode else image.convert(mode)


def target_size(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """Height and width that an image or its crop is resized to; those of `pad` that are no larger keep their size."""
    if spec.fit != "pad":
        return spec.height, spec.width
    if height <= spec.height and width <= spec.width:
        return height, width
    scale = min(spec.height / height, spec.width / width)
    return max(2, round(height * scale)), max(2, round(width * scale))


def fit_planes(pixels: UInt8[Tensor, "c h w"], spec: ImageSpec) -> DecodedImage:
    """Pixels resized, and padded if `spec` says so; RGBA is given premultiplied and returned without it."""
    _, height, width = pixels.shape
    size = target_size(height, width, spec)
    resized = pixels if size == (height, width) else resize(pixels[None], size)[0]
    return DecodedImage(pad_to_target(resized, spec), enlarged=height < size[0] and width < size[1])


def pad_to_target(pixels: UInt8[Tensor, "c h w"], spec: ImageSpec) -> UInt8[Tensor, "c h2 w2"]:
    """Pixels in the middle of the target size; RGBA is given premultiplied and returned without it."""
    _, height, width = pixels.shape
    if (height, width) == (spec.height, spec.width):
        return straight(pixels, spec)
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    around = torch.full(spec.shape, 255 if spec.pad == "white" and spec.channels != "RGBA" else 0, dtype=torch.uint8)
    around[:, top : top + height, left : left + width] = straight(pixels, spec)
    return around


def straight(pixels: UInt8[Tensor, "c h w"], spec: ImageSpec) -> UInt8[Tensor, "c h w"]:
    """Premultiplied colours of RGBA divided by their alpha again; images of other channels as they are."""
    if spec.channels != "RGBA":
        return pixels
    colours, alpha = pixels[:3].int(), pixels[3:].int()
    divided = ((colours * 255 + alpha // 2) // alpha.clamp(min=1)).clamp(max=255)
    return torch.cat([divided.to(torch.uint8), pixels[3:]])
