"""Large JPEGs at part of their size: nearly the pixels of the decoding at full size, for any size and orientation."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from limpid.data.readers import decode as module
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import Channels, Fit, ImageSpec


def overlapping_shapes(height: int, width: int) -> Image.Image:
    """Rectangles of many sizes over each other, with noise: edges and textures as photographs have them."""
    random = np.random.default_rng(0)
    pixels = np.zeros((height, width, 3))
    for i in range(150):
        side = min(height, width) // 2 // (1 + i // 6) + 3
        top, left = random.integers(-side, height), random.integers(-side, width)
        window = pixels[max(top, 0) : top + side, max(left, 0) : left + side]
        window[:] = random.integers(256, size=3) + random.normal(0, 12, window.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def png(blob: bytes) -> bytes:
    """The image of a JPEG, with its orientation, decoded at full size."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(blob)) as image:
        image.save(file, "PNG", compress_level=0, exif=image.getexif())
    return file.getvalue()


CASES: list[tuple[Fit, int, Channels]] = [
    *(("crop", orientation, "RGB") for orientation in range(1, 9)),
    ("stretch", 1, "RGB"),
    ("stretch", 7, 3),
    ("pad", 1, "L"),
    ("pad", 6, "RGBA"),
]


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """Its sides are no multiples of 8, so that its reduced image has pixels that stand for fewer."""
    return overlapping_shapes(531, 603)


@pytest.mark.parametrize(("fit", "orientation", "channels"), CASES)
def test_a_reduced_jpeg_is_within_12_of_255_of_the_full_one(
    fit: Fit, orientation: int, channels: Channels, image: Image.Image
):
    exif = Image.Exif()
    exif[274] = orientation
    blob = jpeg(image, exif=exif)
    spec = ImageSpec(16, 16, channels, fit)
    off = (decode(blob, spec).pixels.int() - decode(png(blob), spec).pixels.int()).abs()
    assert off.max() <= 12
    assert 0 < off.float().mean() < 0.8


def test_a_panorama_is_read_if_its_reduced_size_has_few_enough_pixels(monkeypatch):
    monkeypatch.setattr("limpid.data.readers.reduced_jpeg.MAX_PIXELS", 500 * 2000)
    monkeypatch.setattr(module, "MAX_PIXELS", 500 * 2000)
    panorama = jpeg(Image.new("RGB", (2400, 600), "red"))
    assert (decode(panorama, ImageSpec(8, 8)).pixels[0] > 250).all()
    for blob in (panorama, jpeg(Image.new("RGB", (2400, 600)), progressive=True)):
        large = ImageSpec(8, 8) if blob is not panorama else ImageSpec(400, 400)
        with pytest.raises(ValueError, match="claims 2400x600 pixels: expected at most 1,000,000"):
            decode(blob, large)


def test_a_photograph_of_200_megapixels_is_opened_though_pillow_takes_it_for_a_bomb():
    blob = bytearray(jpeg(Image.new("L", (16, 16))))
    start = blob.index(b"\xff\xc0") + 5
    blob[start : start + 4] = (12_240).to_bytes(2, "big") + (16_320).to_bytes(2, "big")
    assert decode(bytes(blob), ImageSpec(32, 32)).pixels.shape == (3, 32, 32)
    blob[start : start + 4] = (20_000).to_bytes(2, "big") + (16_320).to_bytes(2, "big")
    with pytest.raises(ValueError, match="claims 16320x20000 pixels: expected at most 268,435,456"):
        decode(bytes(blob), ImageSpec(32, 32))


def test_a_small_jpeg_is_decoded_at_its_full_size(image: Image.Image):
    blob = jpeg(image)
    assert torch.equal(decode(blob, ImageSpec(100, 100)).pixels, decode(png(blob), ImageSpec(100, 100)).pixels)
