"""Images of every format: the pixels that were written, upright, over white; what is no image is refused in a line."""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
import torch
from encoded_images import planes, read, saved, smooth_image
from PIL import Image, features
from torch.testing import assert_close

from limpid.data.readers import decode as module
from limpid.data.readers.decode import IMAGE_FORMATS, decode
from limpid.data.readers.fit import ImageSpec
from limpid.data.readers.scan import read_image
from limpid.data.readers.values import ValueRange

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "PPM": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("format", LOSSLESS)
def test_every_lossless_format_gives_back_its_pixels(format: str):
    pixels = smooth_image(12, 20, 3)
    assert torch.equal(read(saved(Image.fromarray(pixels), format, **LOSSLESS[format]), (12, 20)), planes(pixels))


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "AVIF"])
def test_every_lossy_format_gives_back_nearly_its_pixels(format: str):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    pixels = smooth_image(24, 40, 3)
    options = {} if format == "GIF" else {"quality": 95}
    found = read(saved(Image.fromarray(pixels), format, **options), (24, 40))
    assert (found.int() - planes(pixels).int()).abs().float().mean() < 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_heic_is_read_upright_where_pillow_heif_is_installed(orientation: int, monkeypatch):
    exif = Image.Exif()
    exif[274] = orientation
    pixels = smooth_image(64, 48, 3)
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95, exif=exif.tobytes())
    upright = pixels if orientation == 1 else np.ascontiguousarray(pixels.swapaxes(0, 1)[:, ::-1])
    found = read(file.getvalue(), upright.shape[:2])
    assert (found.int() - planes(upright).int()).abs().float().mean() < 8
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"limpid-diffusion\[heic\]"):
        read(file.getvalue(), (8, 8))


# Where row 0 and column 0 of what is stored are in the image that is seen (EXIF 2.3, tag 274).
ORIENTATIONS = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_image_is_upright_as_its_exif_says(format: str, orientation: int):
    upright = smooth_image(16, 24, 3)
    row, column = ORIENTATIONS[orientation]
    stored = upright if row in ("top", "bottom") else upright.swapaxes(0, 1)
    stored = stored[::-1] if row in ("bottom", "right") else stored
    stored = stored[:, ::-1] if column in ("bottom", "right") else stored
    exif = Image.Exif()
    exif[274] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    blob = saved(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif, **options)
    assert (read(blob, (16, 24)).int() - planes(upright).int()).abs().float().mean() < 4


def test_what_is_transparent_shows_white():
    colours, alpha = smooth_image(8, 8, 3), np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    blob = saved(Image.fromarray(np.dstack([colours, alpha])))
    share = torch.from_numpy(alpha / 255)
    assert_close(read(blob, (8, 8)).double(), planes(colours) * share + 255 * (1 - share), rtol=0, atol=1)
    grey = read(saved(Image.fromarray(np.dstack([colours[:, :, 0], alpha]))), (8, 8), "L")
    assert_close(grey.double(), planes(colours[:, :, 0]) * share + 255 * (1 - share), rtol=0, atol=1)


@pytest.mark.parametrize("transparency", [2, bytes([255, 255, 0])], ids=["one colour", "by alpha"])
@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_palette_is_read_as_its_colours_and_its_alpha(format: str, transparency: int | bytes):
    image = Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3) % 3, "P")
    image.putpalette([200, 0, 0, 0, 100, 0, 7, 7, 7])
    if format == "GIF" and isinstance(transparency, bytes):
        pytest.skip("a GIF has one transparent colour")
    found = read(saved(image, format, transparency=transparency), (3, 3))
    assert found[:, 0].T.tolist() == [[200, 0, 0], [0, 100, 0], [255, 255, 255]]


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_colours(format: str):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[:, :4, 0], ink[:, 4:, 3] = 255, 128
    found = read(saved(Image.fromarray(ink, "CMYK"), format, **({"quality": 100} if format == "JPEG" else {})), (8, 8))
    wanted = torch.tensor([[0, 255, 255], [127, 127, 127]])
    assert_close(found[:, 0, [1, 6]].T.int(), wanted.int(), rtol=0, atol=3)


@pytest.mark.parametrize(("format", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B"), ("PPM", "I")])
def test_sixteen_bits_of_grey_are_scaled_to_eight(format: str, mode: str):
    greys = np.array([[0, 128, 129], [257 * 100, 257 * 100 + 128, 257 * 100 + 129], [65_278, 65_406, 65_535]])
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    blob = saved(Image.frombytes(mode, (3, 3), greys.astype(kind).tobytes()), format)
    assert read(blob, (3, 3), "L")[0].tolist() == [[0, 0, 1], [100, 100, 101], [254, 254, 255]]
    assert torch.equal(read(blob, (3, 3)), read(blob, (3, 3), "L").expand(3, 3, 3))


def test_one_bit_is_black_or_white_and_grey_is_spread_over_the_colours():
    bits = np.eye(4, dtype=bool)
    assert torch.equal(read(saved(Image.fromarray(bits)), (4, 4)), planes(bits.astype(np.uint8) * 255).expand(3, 4, 4))
    grey = smooth_image(6, 6)
    assert torch.equal(read(saved(Image.fromarray(grey)), (6, 6)), planes(grey).expand(3, 6, 6))
    colours = Image.fromarray(smooth_image(6, 6, 3))
    assert torch.equal(read(saved(colours), (6, 6), "L"), planes(np.array(colours.convert("L"))))


def test_integers_of_32_bits_have_no_known_white_and_are_read_by_a_stated_range():
    blob = saved(Image.fromarray(np.array([[-1000, 0], [1000, 3000]], np.int32)), "TIFF")
    with pytest.raises(ValueError, match=r"int32 from -1000 to 3000: .* --data.range LOW HIGH"):
        read(blob, (2, 2))
    spec = ImageSpec(2, 2, "L", value_range=ValueRange(-1000, 1000))
    assert decode(blob, spec).pixels[0].tolist() == [[0, 128], [255, 255]]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_a_truncated_image_is_refused_in_one_line_wherever_it_ends(format: str):
    blob = saved(Image.fromarray(smooth_image(40, 40, 3)), format)
    for end in (1, 4, 10, len(blob) // 4, len(blob) // 2, len(blob) * 3 // 4):
        with pytest.raises(ValueError, match=r"\S") as error:
            read(blob[:end], (8, 8))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "it is empty"),
        (bytes(5_000), "it is in no known format"),
        (b"<html>not found</html>", "it is in no known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is in no known format"),
    ],
)
def test_what_is_no_image_is_refused(blob: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        read(blob, (8, 8))


def png(width: int, height: int) -> bytes:
    """The head of a PNG of these measures and a few bytes of its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1_000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(8_193, 8_193), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_head(size: tuple[int, int], monkeypatch):
    def load(self: object) -> None:
        raise AssertionError("memory would be taken for its pixels")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ValueError, match="expected at most 67,108,864"):
        read(png(*size), (8, 8))


def test_large_images_are_decoded_one_at_a_time_to_the_same_pixels(monkeypatch):
    blob = saved(Image.fromarray(smooth_image(40, 40, 3)))
    alone = read(blob, (8, 8))
    monkeypatch.setattr(module, "SERIAL_ABOVE_PIXELS", 100)
    assert torch.equal(read(blob, (8, 8)), alone)


def test_an_image_that_an_edit_cannot_read_is_named(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"no")
    for name, message in (("broken.png", "in no known format"), ("none.png", "No such file"), ("", "a folder")):
        with pytest.raises(ValueError, match=f"cannot read the image .*{name}.*{message}") as error:
            read_image(tmp_path / name, (3, 8, 8))
        assert "\n" not in str(error.value)


def test_an_image_of_any_number_of_channels_is_edited_from_an_npy_or_a_tiff(tmp_path: Path):
    array = np.random.default_rng(0).integers(256, size=(8, 8, 5), dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig")
    for name in ("a.npy", "a.tif"):
        assert np.array_equal(read_image(tmp_path / name, (5, 8, 8)).permute(1, 2, 0), array)
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(array[:, :, :3])))
    with pytest.raises(ValueError, match="it has 3 channels: expected 5"):
        read_image(tmp_path / "a.png", (5, 8, 8))


def test_no_format_is_read_that_runs_a_program():
    assert "EPS" not in IMAGE_FORMATS
