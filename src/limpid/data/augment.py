"""Random augmentation: horizontal flips, and shifts by a few pixels."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Integer, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Random augmentation of a training batch, independent for each image."""

    flip: float = 0.5
    """Probability that an image is flipped left to right."""
    shift: int = 0
    """Largest shift along either axis, in pixels; the uncovered border is filled by reflection."""

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip {self.flip}: expected a probability, 0 to 1")
        if self.shift < 0:
            raise ValueError(f"shift {self.shift}: expected a number of pixels, 0 for none")

    def __call__(self, pixels: UInt8[Tensor, "b c h w"], generator: torch.Generator) -> UInt8[Tensor, "b c h w"]:
        if self.flip > 0:
            pixels = flip(pixels, _uniform(len(pixels), pixels.device, generator) < self.flip)
        if self.shift > 0:
            pixels = shift(pixels, *_offsets(self.shift, pixels, generator))
        return pixels


def flip(pixels: UInt8[Tensor, "b c h w"], which: Bool[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
    """The images, with those selected by the mask flipped left to right."""
    b, c, h, w = pixels.shape
    chosen = torch.where(which[:, None], as_int64_rows(pixels.flip(3)), as_int64_rows(pixels))
    return chosen.view(torch.uint8).view(b, h, w, c).permute(0, 3, 1, 2)


def as_int64_rows(pixels: UInt8[Tensor, "b c h w"]) -> Integer[Tensor, "b _"]:
    """Each image as one row, of int64 words where its bytes divide by eight: a CPU selects words faster than bytes."""
    rows = pixels.permute(0, 2, 3, 1).flatten(1)
    return rows.view(torch.int64) if rows.shape[1] % 8 == 0 else rows


def shift(
    pixels: UInt8[Tensor, "b c h w"], down: Int[Tensor, " b"], right: Int[Tensor, " b"]
) -> UInt8[Tensor, "b c h w"]:
    """The images, each shifted down and right by its own numbers of pixels (negative: up, left), edges reflected."""
    b, c, h, w = pixels.shape
    image = torch.arange(b, device=pixels.device)[:, None, None, None]
    channel = torch.arange(c, device=pixels.device)[:, None, None]
    rows, columns = _sources(h, down), _sources(w, right)
    return pixels[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _sources(length: int, offset: Int[Tensor, " b"]) -> Int[Tensor, "b length"]:
    """The source index of each pixel along an axis: i - offset, reflected at the first and the last pixel."""
    last = length - 1
    index = torch.arange(length, device=offset.device) - offset[:, None]
    return last - (last - index.abs()).abs()


def _uniform(n: int, device: torch.device, generator: torch.Generator) -> Tensor:
    """Uniform draws on `device`, whichever device the generator is of."""
    return torch.rand(n, generator=generator, device=generator.device).to(device)


def _offsets(most: int, pixels: UInt8[Tensor, "b c h w"], generator: torch.Generator) -> Int[Tensor, "2 b"]:
    """Uniform whole numbers from -most to most, for each image one down and one right."""
    b, _, h, w = pixels.shape
    if most >= min(h, w):
        raise ValueError(f"shift {most} of images of {h}x{w}: expected less than their side")
    draws = torch.randint(-most, most + 1, (2, b), generator=generator, device=generator.device)
    return draws.to(pixels.device)
