"""Images of other than 8 bits, written by tifffile, imagecodecs and by hand, and the white of a set of them."""

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from limpid.data import Folder
from limpid.data.images import ImageDataset
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import Channels, DecodedImage, ImageSpec
from limpid.data.readers.values import ValueRange
from limpid.data.splits import Split, unit_hash

GREYS = np.linspace(0, 1, 48).reshape(6, 8)
PIXELS = np.rint(GREYS * 255).astype(np.uint8)


def tiff(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def packed_tiff(values: np.ndarray, bits: int) -> bytes:
    """A TIFF of 12 bits a pixel, which tifffile reads and does not write."""
    height, width = values.shape
    rows = [int("".join(f"{v:0{bits}b}" for v in row), 2).to_bytes(width * bits // 8, "big") for row in values.tolist()]
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(b"".join(rows))}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    body = b"".join(rows)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)


def read(blob: bytes, channels: Channels = "L", *stated: float, size: tuple[int, int] = (6, 8)) -> DecodedImage:
    return decode(blob, ImageSpec(*size, channels, value_range=ValueRange(stated[0], stated[1]) if stated else None))


def test_a_tiff_of_12_bits_has_the_white_4095():
    values = np.rint(GREYS * 4095).astype(np.uint16)
    blob = packed_tiff(values, 12)
    assert np.array_equal(tifffile.imread(io.BytesIO(blob)), values)
    found = read(blob)
    assert np.array_equal(found.pixels[0], np.rint(values / 4095 * 255))
    assert found.value_range == (0, 4095)


AS_STORED = [{"byteorder": order, "compression": method} for order in "<>" for method in (None, "zlib")]


@pytest.mark.parametrize("options", AS_STORED, ids=str)
@pytest.mark.parametrize("bits", [8, 16])
def test_where_0_is_white_the_image_is_inverted(bits: int, options: dict):
    values = np.rint(GREYS * (2**bits - 1)).astype(f"u{bits // 8}")
    blob = tiff(values, photometric="miniswhite", **options)
    assert np.array_equal(read(blob).pixels[0], np.rint((2**bits - 1 - values) / (2**bits - 1) * 255))


@pytest.mark.parametrize("options", AS_STORED, ids=str)
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "f2", "f4", "f8"])
def test_signed_and_wide_values_of_a_tiff_are_read_by_a_stated_range_alone(dtype: str, photometric: str, options: dict):
    values = np.rint(GREYS * 200).astype(np.int64) - (0 if dtype == "u4" else 100)
    low, high = int(values.min()), int(values.max())
    blob = tiff(values.astype(dtype), photometric=photometric, **options)
    with pytest.raises(ValueError, match=r"--data.range LOW HIGH"):
        read(blob)
    pixels = np.rint((values - low if photometric == "minisblack" else high - values) / 200 * 255)
    assert np.array_equal(read(blob, "L", low, high).pixels[0], pixels)


def test_floats_of_a_tiff_in_0_to_1_are_read():
    assert np.array_equal(read(tiff(GREYS.astype(np.float32))).pixels[0], PIXELS)


def test_the_transparent_grey_of_a_png_of_16_bits_becomes_white():
    values = np.rint(GREYS * 65535).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", transparency=int(values[2, 3]))
    found = read(file.getvalue())
    expected = PIXELS.copy()
    expected[2, 3] = 255
    assert np.array_equal(found.pixels[0], expected)
    alpha = read(file.getvalue(), "RGBA").pixels[3]
    assert (alpha == 0).nonzero().tolist() == [[2, 3]]


@pytest.mark.parametrize("write", [tiff, imagecodecs.png_encode], ids=["TIFF", "PNG"])
def test_colours_of_16_bits_are_read_by_their_upper_8_and_from_a_tiff_by_a_stated_range(write):
    values = np.rint(np.random.default_rng(0).random((6, 8, 3)) * 4095).astype(np.uint16)
    scaled = values * 16
    found = read(bytes(write(scaled)), "RGB")
    assert np.array_equal(found.pixels.permute(1, 2, 0), scaled >> 8)
    dark = read(bytes(write(values)), "RGB")
    assert dark.value_range == (0, 65535)
    assert values.max() <= dark.highest <= values.max() + 255
    if write is tiff:
        found = read(bytes(write(values)), "RGB", 0, 4095)
        assert np.array_equal(found.pixels.permute(1, 2, 0), np.rint(values / 4095 * 255))
    else:
        with pytest.raises(ValueError, match="16 bits for each colour"):
            read(bytes(write(values)), "RGB", 0, 4095)


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("channels", [2, 3, 5])
def test_the_samples_of_a_tiff_are_channels(channels: int, dtype: str, layout: str):
    white = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(white, size=(6, 8, channels), endpoint=True).astype(dtype)
    stored = values if layout == "contig" else np.ascontiguousarray(values.transpose(2, 0, 1))
    blob = tiff(stored, photometric="minisblack", planarconfig=layout, compression="zlib")
    found = read(blob, channels)
    assert np.array_equal(found.pixels.permute(1, 2, 0), np.rint(values / white * 255))
    with pytest.raises(ValueError, match=f"{channels} channels: expected 7"):
        read(blob, 7)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_samples_are_turned_upright_as_pillow_turns_images(orientation: int):
    values = np.random.default_rng(0).integers(256, size=(6, 8, 3), dtype=np.uint8)
    blob = tiff(values, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    size = (6, 8) if orientation < 5 else (8, 6)
    assert np.array_equal(read(blob, 3, size=size).pixels, read(blob, "RGB", size=size).pixels)


@pytest.fixture
def microscope(tmp_path: Path) -> Path:
    """A folder of images of 12 bits that are stored as 16."""
    (tmp_path / "cells").mkdir()
    for i in range(8):
        values = np.rint(GREYS * (3000 + 100 * i)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "cells" / f"{i}.tif", values)
    return tmp_path / "cells"


def test_a_set_of_16_bits_that_is_nearly_black_stops_and_proposes_its_white(microscope: Path):
    folder = Folder(str(microscope), 6, 8, "L", split="all")
    for _ in range(2):  # the second time from the packed images
        with pytest.raises(ValueError, match=r"up to 3700 of 65535: .*--data.white 4095, or --data.white auto"):
            folder.open("cpu")
    assert len(Folder(str(microscope), 6, 8, "L", split="all", white=65535).open("cpu")) == 8


def test_a_bright_image_that_is_held_out_shows_the_scale_of_a_dark_training_set(microscope: Path):
    names = [f"{i}.tif" for i in range(8)]
    held_out = next(name for name in names if unit_hash(name) < 0.5)
    tifffile.imwrite(microscope / held_out, np.rint(GREYS * 60000).astype(np.uint16))
    images = Folder(str(microscope), 6, 8, "L", held_out=0.5).open("cpu")
    assert len(images) == sum(unit_hash(n) >= 0.5 for n in names)
    (note,) = images.description.notes
    assert note.startswith("16 bits: 0 is black and 65535 white, unless --data.white states it; the largest is 3")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("options", "white"), [({"white": 4095}, 4095), ({"range": (0.0, 4095.0)}, 4095), ({"white": "auto"}, 3700)]
)
def test_one_white_is_that_of_all_images_in_every_split(options: dict, white: int, split: Split, microscope: Path):
    images = Folder(str(microscope), 6, 8, "L", split=split, held_out=0.5, **options).open("cpu")
    assert isinstance(images, ImageDataset)
    noted = "white is 3700, the largest value of all images" in images.description.notes
    assert noted == (options == {"white": "auto"})
    chosen = [i for i in range(8) if (unit_hash(f"{i}.tif") < 0.5) == (split == "test")]
    assert images.pixels.flatten(1).amax(1).tolist() == [round((3000 + 100 * i) / white * 255) for i in chosen]


def test_floats_of_two_ranges_in_one_set_stop_it(tmp_path: Path):
    (tmp_path / "set").mkdir()
    for i, values in enumerate((GREYS, 2 * GREYS - 1)):
        tifffile.imwrite(tmp_path / "set" / f"{i}.tif", values.astype(np.float32))
    with pytest.raises(ValueError, match=r"floats in \[0, 1\] and others in \[-1, 1\]: .*--data.range LOW HIGH"):
        Folder(str(tmp_path / "set"), 6, 8, "L", split="all").open("cpu")
    assert len(Folder(str(tmp_path / "set"), 6, 8, "L", split="all", range=(-1.0, 1.0)).open("cpu")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"range": (1.0,)}, "range 1: expected two values"),
        ({"range": (5.0, 5.0)}, "range 5 5: expected two values, LOW below HIGH"),
        ({"white": -3}, "range 0 -3: expected two values"),
        ({"white": 4095, "range": (0.0, 1.0)}, "white 4095 and a range: expected one"),
        ({"white": "auto", "range": (0.0, 1.0)}, "white auto and a range: expected one"),
    ],
)
def test_a_range_that_is_none_is_refused(options: dict, message: str, microscope: Path):
    with pytest.raises(ValueError, match=message):
        Folder(str(microscope), 6, 8, "L", **options).open("cpu")


def test_a_set_of_8_bits_has_no_white_to_be_found(tmp_path: Path):
    (tmp_path / "set").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "set" / "a.png")
    with pytest.raises(ValueError, match="white auto finds no value above 0"):
        Folder(str(tmp_path / "set"), 6, 8, "L", split="all", white="auto").open("cpu")


def test_a_compression_with_a_size_of_its_own_is_refused_where_samples_are_channels():
    blob = tiff(np.zeros((16, 16, 3), np.uint8), photometric="rgb", compression="jpeg")
    assert read(blob, "RGB", size=(16, 16)).pixels.shape == (3, 16, 16)
    with pytest.raises(ValueError, match="compressed by method 7: expected none, LZW, deflate"):
        read(blob, 3)
