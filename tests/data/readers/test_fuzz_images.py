"""Images damaged at random: read, or refused in one line; nothing is run or written, and memory is bounded."""

import io
import struct
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from encoded_images import images_of_each_format
from fuzzing import EDITS, ROUNDS, Edits, counted, edited, fuzzed, try_reading
from hypothesis import given
from hypothesis import strategies as st

from limpid.data.readers.decode import decode
from limpid.data.readers.fit import ImageSpec

FRAME = ImageSpec(16, 16)


def with_new_checksums(png: bytes) -> bytes:
    """A PNG with the checksum of every chunk corrected, so that a change in it is read at all."""
    out, at = [png[:8]], 8
    while at + 8 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        body = png[at + 4 : at + 8 + length]
        out.append(png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(out)


def five_samples() -> list[bytes]:
    """TIFFs of five samples for each pixel, in strips, tiles and planes."""
    values = np.random.default_rng(0).integers(256, size=(40, 48, 5), dtype=np.uint8)
    planes = np.ascontiguousarray(values.transpose(2, 0, 1))
    rows: list[dict] = [{"compression": name, "rowsperstrip": 8} for name in (None, "zlib", "lzw", "packbits", "zstd")]
    found = [(values, each) for each in [*rows, {"tile": (16, 16)}, {"tile": (16, 16), "compression": "lzma"}]]
    found += [(values.astype(np.uint16), {"compression": "zlib", "predictor": True}), (planes, {})]
    blobs = []
    for array, options in found:
        file = io.BytesIO()
        planarconfig = "separate" if array is planes else "contig"
        tifffile.imwrite(file, array, photometric="minisblack", planarconfig=planarconfig, **options)
        blobs.append(file.getvalue())
    return blobs


SIZES = [0, 1, 2, 5, 16, 255, 4_096, 8_192, 65_535, 2**20, 2**26, 2**31 - 1, 2**32 - 1]


def changed_tags(tiff: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """A TIFF with the tag, the type, the count or the value of some entries of its first directory changed."""
    blob = bytearray(tiff)
    (at,) = struct.unpack_from("<I", blob, 4)
    (count,) = struct.unpack_from("<H", blob, at)
    for entry, field, value in changes:
        start = at + 2 + 12 * (entry % count)
        place, form = ((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"))[field]
        number = {0: 254 + value % 90, 1: 1 + value % 18}.get(field, value)
        struct.pack_into(form, blob, start + place, number)
    return bytes(blob)


def test_a_broken_tiff_of_five_samples_is_read_or_refused(capsys):
    change = st.tuples(st.integers(0, 30), st.integers(0, 3), st.sampled_from(SIZES))

    @fuzzed(ROUNDS)
    @given(st.sampled_from(five_samples()), st.lists(change, max_size=3), EDITS, st.booleans())
    def run(blob: bytes, changes: list[tuple[int, int, int]], edits: Edits, bytes_too: bool) -> None:
        broken = changed_tags(blob, changes)
        broken = edited(broken, blob, edits) if bytes_too else broken
        try_reading(lambda: decode(broken, replace(FRAME, channels=5, pages="all")), outcomes)

    with counted("TIFF of five samples", capsys) as outcomes:
        run()
    assert outcomes["read"]  # files without a change are among them


def test_a_size_of_many_values_is_refused_before_it_is_multiplied():
    """The product of a tuple and a number was a tuple of that many elements, which took 4 GB."""
    (tiff, *_) = five_samples()
    for tag in (256, 257, 277, 278):
        directory = struct.unpack_from("<I", tiff, 4)[0]
        entry = next(i for i in range(30) if struct.unpack_from("<H", tiff, directory + 2 + 12 * i)[0] == tag)
        begin = time.process_time()
        with pytest.raises(ValueError, match=r"has 1,000 values of type \d: expected a number"):
            decode(changed_tags(tiff, [(entry, 2, 1_000), (entry, 3, 8)]), replace(FRAME, channels=5))
        assert time.process_time() - begin < 1


@pytest.mark.parametrize("format", images_of_each_format())
def test_a_broken_image_is_read_or_refused(format: str, capsys):
    mine = images_of_each_format()[format]
    others = [blob for blobs in images_of_each_format().values() for blob in blobs]

    @fuzzed(ROUNDS)
    @given(st.sampled_from(mine), st.sampled_from(others), EDITS, st.booleans())
    def run(blob: bytes, other: bytes, edits: Edits, mended: bool) -> None:
        broken = edited(blob, other, edits)
        spec = replace(FRAME, pages="all")
        try_reading(
            lambda: decode(with_new_checksums(broken) if format == "PNG" and mended else broken, spec), outcomes
        )

    with counted(format, capsys) as outcomes:
        run()
