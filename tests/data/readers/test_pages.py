"""Files of several pages or frames: the first, or all of them."""

import io

import numpy as np
import pytest
import tifffile
from encoded_images import saved
from PIL import Image

from limpid.data.readers.decode import decode
from limpid.data.readers.fit import Channels, ImageSpec


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_of_an_animation_the_first_frame_is_read_or_all_of_them(format: str, orientation: int):
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "lime", "blue")]
    options: dict = {"lossless": True} if format == "WEBP" else {}
    if orientation > 1 and format != "GIF":
        options["exif"] = Image.Exif()
        options["exif"][274] = orientation
    blob = saved(frames[0], format, save_all=True, append_images=frames[1:], **options)
    found = decode(blob, ImageSpec(8, 8))
    assert found.has_more
    assert found.others == ()
    assert found.pixels[:, 4, 4].tolist() == [255, 0, 0]
    assert not decode(saved(frames[0], format), ImageSpec(8, 8)).has_more
    found = decode(blob, ImageSpec(8, 8, fit="pad", pages="all"))
    assert not found.has_more
    pages = [found, *found.others]
    assert [page.pixels[:, 4, 4].tolist() for page in pages] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert [page.page for page in pages] == [0, 1, 2]
    assert all((page.pixels[:, 0, 4] == 255).all() != ("exif" in options) for page in pages)  # the padding is white


@pytest.mark.parametrize("channels", ["L", 5])
def test_pages_of_a_tiff_are_read_without_the_reduced_copies_of_others(channels: Channels):
    shape = (4, 8, 8, 5) if channels == 5 else (4, 8, 8)
    values = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page, kind in zip(values, (0, 1, 1, 2), strict=True):  # full, reduced, reduced, one of several
            planes: dict = {"planarconfig": "contig"} if channels == 5 else {}
            writer.write(page, photometric="minisblack", subfiletype=kind, metadata=None, **planes)
    found = decode(file.getvalue(), ImageSpec(8, 8, channels, pages="all"))
    assert [page.page for page in (found, *found.others)] == [0, 3]
    for page in (found, *found.others):
        assert np.array_equal(page.pixels.permute(1, 2, 0).numpy().reshape(values[0].shape), values[page.page])
    assert decode(file.getvalue(), ImageSpec(8, 8, channels)).has_more


def test_pages_that_fill_memory_are_refused(monkeypatch):
    monkeypatch.setattr("limpid.data.readers.pages.MAX_PAGES_BYTES", 500)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    blob = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="3 pages, 576 bytes: expected at most 500"):
        decode(blob, ImageSpec(8, 8, pages="all"))
