"""Handwritten digits that come with the package: small enough to train on in a minute, without a download."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from limpid.data.fingerprint import fingerprint_of_arrays
from limpid.data.images import ImageDataset, channels_last, resize

SHEET = Path(__file__).with_name("digits.png")
SHEET_ROWS, SHEET_COLUMNS, DIGIT_SIDE = 42, 43, 8


@dataclass(frozen=True)
class Digits:
    """1,797 digits of 8x8, one channel, in the order of their publication (Alpaydin and Kaynak, 1998; CC BY 4.0)."""

    size: int = 16
    """Side of the images, in pixels; 8 is as published."""

    def open(self, device: torch.device | str) -> ImageDataset:
        """The images as training takes them."""
        return self.load().to(device)

    def load(self) -> ImageDataset:
        """All images in memory; their grey values, published as 0..16, are scaled to 0..255."""
        with Image.open(SHEET) as sheet:
            assert isinstance(sheet, PngImagePlugin.PngImageFile)
            # The sheet's pixels are numbers in a palette: the published greys themselves.
            greys, text = torch.from_numpy(np.array(sheet)), sheet.text["labels"]
        cells = (
            greys.view(SHEET_ROWS, DIGIT_SIDE, SHEET_COLUMNS, DIGIT_SIDE)
            .transpose(1, 2)
            .reshape(-1, 1, DIGIT_SIDE, DIGIT_SIDE)
        )
        labels = torch.tensor([int(digit) for digit in text])
        pixels = (cells[: len(labels)] * (255 / 16)).round().to(torch.uint8)
        content = fingerprint_of_arrays(len(labels), pixels.numpy().tobytes(), bytes(labels.tolist()))
        return ImageDataset(channels_last(resize(pixels, self.size)), labels, tuple("0123456789"), content)
