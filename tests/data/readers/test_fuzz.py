"""Files that were broken by chance: read, or refused in one line; nothing run, nothing written, nothing without bound.

LIMPID_FUZZ=20000 pytest -n 0 -s tests/data/readers/test_fuzz.py tries so many for each reader and
tells what became of them.
"""

import gzip
import io
import os
import pickle
import resource
import struct
import sys
import tarfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features
from published_sets import cifar100_pickles, cifar100_records, stl10, svhn
from small_sets import LABELS, PIXELS, SETS, npz

from limpid.data import Folder
from limpid.data.readers import cifar10_files
from limpid.data.readers.cifar10_files import LAYOUTS
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import ImageSpec

ROUNDS = int(os.environ.get("LIMPID_FUZZ", "60"))
SECONDS = 10.0
"""No input may take longer, on a machine that does other things besides."""
MEGABYTES = 1_200
"""The process may grow by no more: a head may claim an image of 64 million pixels, which are 256 MB."""
FRAME = ImageSpec(16, 16)
NUMBERS = [
    b"\0",
    b"\1",
    b"\x7f",
    b"\xff",
    b"\0\0",
    b"\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff" * 4,
    b"\xff" * 8,
]

Edits = tuple[int, list[tuple[str, float, float, bytes]]]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "insert", "cut", "end", "repeat", "splice"]),
        st.one_of(st.floats(0, 1), st.floats(0, 0.1)),
        st.floats(0, 1),
        st.one_of(st.sampled_from(NUMBERS), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=5,
)
EDITS = st.tuples(st.sampled_from([0, 8, 8, 16, 32]), CHANGES)
"""How many bytes stay as they are, so that a file is still taken for what it was, and what is done to the others."""


def edited(blob: bytes, other: bytes, edits: Edits) -> bytes:
    """The bytes with a few of them changed, added, doubled or gone; `other` is where foreign ones come from."""
    kept, changes = edits
    head, blob = blob[:kept], blob[kept:]
    for kind, where, much, new in changes:
        at, n = int(where * len(blob)), int(much**4 * len(blob))
        match kind:
            case "put":
                blob = blob[:at] + new + blob[at + len(new) :]
            case "insert":
                blob = blob[:at] + new + blob[at:]
            case "cut":
                blob = blob[:at] + blob[at + n :]
            case "end":
                blob = blob[: max(at, 1)]
            case "repeat":
                blob = blob[: at + n] + blob[at:]
            case "splice":
                blob = blob[:at] + other[int(much * len(other)) :]
    return (head + blob)[: 2**20]


WATCH: dict[str, list[str]] = {}


def watch(event: str, arguments: tuple) -> None:
    """Notes whatever the process does to the world outside while a reader is at work."""
    if "seen" not in WATCH:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    acts = ("subprocess", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket", "shutil")
    named = ("os.remove", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.chmod", "pickle.find_class")
    if writes or event.startswith(acts) or event in named:
        WATCH["seen"].append(f"{event} {arguments[:2]}")


sys.addaudithook(watch)


@contextmanager
def harmless(*allowed: str) -> Iterator[None]:
    """Fails if what is done inside writes, runs or asks for anything but what is allowed."""
    WATCH["seen"] = []
    try:
        yield
    finally:
        seen = WATCH.pop("seen")
    assert [what for what in seen if not what.startswith(allowed)] == []


@contextmanager
def counted(name: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Counter[str]]:
    """Counts what became of the inputs of a reader, and tells it if many were asked for."""
    outcomes: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield outcomes
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES
    assert outcomes["refused"]
    with capsys.disabled():
        if "LIMPID_FUZZ" in os.environ:
            counts = {what: outcomes[what] for what in ("read", "refused", "slowest, ms")}
            reasons = outcomes - Counter(counts)
            print(f"\n{name}: {counts}, {len(reasons)} reasons, {grown:.0f} MB more at the peak")
            print("\n".join(f"    {count:6} {why}" for why, count in reasons.most_common(12)))


def tried(act: Callable[[], object], outcomes: Counter[str], *allowed: str) -> None:
    """Reads once: it is read, or refused by a ValueError of one line, soon and without a trace."""
    begin = time.perf_counter()
    with harmless(*allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            act()
            outcomes["read"] += 1
        except ValueError as error:
            output = str(error)
            assert output.isprintable(), output
            assert 0 < len(output) < 500, output
            assert "Type-check error" not in output, output
            outcomes["refused"] += 1
            outcomes[output.rpartition(": ")[2]] += 1
    taken = time.perf_counter() - begin
    outcomes["slowest, ms"] = max(outcomes["slowest, ms"], round(1_000 * taken))
    assert taken < SECONDS


def fuzzed(rounds: int) -> Callable:
    """Settings of hypothesis for so many inputs, the same in every run and nothing written."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=rounds, deadline=None, derandomize=True, database=None, suppress_health_check=checks)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def mixed_pages() -> bytes:
    """A big-endian TIFF of compressed pages, of which Pillow and tifffile read one after the other."""
    file, values = io.BytesIO(), np.random.default_rng(0).integers(256, size=(40, 48), dtype=np.uint8)
    with tifffile.TiffWriter(file, byteorder=">") as tiff:
        for page in (values, values / 255, values.astype(np.uint16), (values / 255).astype(np.float32)):
            tiff.write(page, photometric="minisblack", compression="zlib")
    return file.getvalue()


def seeds() -> dict[str, list[bytes]]:
    """A few images of each format, in the modes and with the odd parts that it has."""
    ramp = np.arange(48 * 40 * 4, dtype=np.uint32).reshape(48, 40, 4)
    rgba = Image.fromarray((ramp * 7 % 256).astype(np.uint8), "RGBA")
    rgb, grey, palette = rgba.convert("RGB"), rgba.convert("L"), rgba.convert("RGB").quantize(16)
    deep = Image.fromarray((ramp[:, :, 0] * 97 % 65_536).astype(np.uint16))
    exif = Image.Exif()
    exif[274] = 6
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    found = {
        "JPEG": [
            *(saved(rgb, "JPEG", exif=exif), saved(grey, "JPEG", progressive=True), saved(rgb.convert("CMYK"), "JPEG")),
            saved(rgb.resize((400, 300)), "JPEG", quality=30),
        ],
        "PNG": [
            *(saved(rgba, "PNG"), saved(palette, "PNG", transparency=bytes(range(16))), saved(deep, "PNG")),
            *(saved(grey.convert("1"), "PNG"), saved(rgb, "PNG", exif=exif), saved(rgb, "PNG", **frames)),
        ],
        "GIF": [saved(palette, "GIF", transparency=3), saved(rgb, "GIF", **frames)],
        "WEBP": [saved(rgba, "WEBP", lossless=True), saved(rgb, "WEBP", exif=exif), saved(rgb, "WEBP", **frames)],
        "BMP": [saved(rgb, "BMP"), saved(palette, "BMP"), saved(grey.convert("1"), "BMP")],
        "TIFF": [
            *(
                saved(rgba, "TIFF"),
                saved(deep, "TIFF"),
                saved(rgb.convert("CMYK"), "TIFF"),
                saved(rgb, "TIFF", **frames),
            ),
            *(saved(rgb, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits")),
            *(saved(grey.convert("1"), "TIFF", compression="group4"), mixed_pages()),
        ],
        "PPM": [saved(rgb, "PPM"), saved(grey, "PPM"), b"P3 2 2 255\n" + b"1 2 3 " * 4, b"P1 # c\n3 2\n101010\n"],
    }
    if features.check("avif"):
        found["AVIF"] = [saved(rgb, "AVIF"), saved(rgba, "AVIF")]
    return found


def checked_anew(png: bytes) -> bytes:
    """A PNG with the checksum of every chunk made right, so that what was changed in it is read at all."""
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
        tried(lambda: decode(broken, replace(FRAME, channels=5, pages="all")), outcomes)

    with counted("TIFF of five samples", capsys) as outcomes:
        run()
    assert outcomes["read"]  # files without a change are among them


def test_a_size_of_many_values_is_refused_before_it_is_multiplied():
    """The product of a tuple and a number was a tuple of that many elements, which took 4 GB."""
    (tiff, *_) = five_samples()
    for tag in (256, 257, 277, 278):
        directory = struct.unpack_from("<I", tiff, 4)[0]
        entry = next(i for i in range(30) if struct.unpack_from("<H", tiff, directory + 2 + 12 * i)[0] == tag)
        begin = time.perf_counter()
        with pytest.raises(ValueError, match=r"has 1,000 values of type \d: expected a number"):
            decode(changed_tags(tiff, [(entry, 2, 1_000), (entry, 3, 8)]), replace(FRAME, channels=5))
        assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("format", seeds())
def test_a_broken_image_is_read_or_refused(format: str, capsys):
    mine = seeds()[format]
    others = [blob for blobs in seeds().values() for blob in blobs]

    @fuzzed(ROUNDS)
    @given(st.sampled_from(mine), st.sampled_from(others), EDITS, st.booleans())
    def run(blob: bytes, other: bytes, edits: Edits, mended: bool) -> None:
        broken = edited(blob, other, edits)
        spec = replace(FRAME, pages="all")
        tried(lambda: decode(checked_anew(broken) if format == "PNG" and mended else broken, spec), outcomes)

    with counted(format, capsys) as outcomes:
        run()


PACKING = ("open (", "os.mkdir", "os.rename", "shutil.rmtree", "shutil", "os.remove", "os.rmdir")
"""What reading a place may do, where data is kept."""


def place_of(path: Path, blob: bytes) -> Callable[[], object]:
    """Reads images of a place that holds these bytes."""
    path.write_bytes(blob)
    return lambda: Folder(str(path), 16, split="all", on_error="skip").open("cpu")


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, blob in (
            ("cat/a.png", seeds()["PNG"][0]),
            ("dog/b.jpg", seeds()["JPEG"][0]),
            ("dog/c.txt", b"hello"),
        ):
            packed.writestr(name, blob)
        packed.writestr(zipfile.ZipInfo("dog/stored.gif"), seeds()["GIF"][0])
    return file.getvalue()


def arrays(compressed: bool) -> bytes:
    file = io.BytesIO()
    pixels = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3)
    (np.savez_compressed if compressed else np.savez)(file, images=pixels, labels=np.arange(5))
    return file.getvalue()


def members(blob: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(blob)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def repacked(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, blob in files.items():
            packed.writestr(name, blob)
    return file.getvalue()


FORMS = {
    "zip": lambda: [archive()],
    "npz": lambda: [arrays(False), arrays(True), SETS["npz of splits"](), SETS["npz of floats"]()],
    "npy": lambda: [SETS["npy"]()],
    "idx": lambda: [SETS["idx"](), SETS["idx.gz"]()],
    "tar": lambda: [SETS["tar"](), SETS["tar.gz"](), SETS["webdataset"]()],
    "hdf5": lambda: [SETS["hdf5"]()],
    "parquet": lambda: [SETS["parquet"](), SETS["uncompressed parquet"]()],
}
"""Sets of a few images in every form of one file."""
ZIPS = ("zip", "npz")


@pytest.mark.parametrize("kind", FORMS)
def test_a_broken_set_is_read_or_refused(kind: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "kept"))
    mine = FORMS[kind]()
    place = tmp_path / f"a.{kind}"

    @fuzzed(ROUNDS)
    @given(st.sampled_from(mine), EDITS, st.booleans(), st.integers(0, 3))
    def run(blob: bytes, edits: Edits, inside: bool, which: int) -> None:
        if inside and kind in ZIPS:  # broken within, so that the archive's own checksums are right
            files = members(blob)
            name = list(files)[which % len(files)]
            broken = repacked(files | {name: edited(files[name], blob, edits)})
        else:
            broken = edited(blob, blob, edits)
        if inside and kind == "tar" and not broken.startswith(b"\x1f\x8b"):
            broken = summed_anew(broken)
        tried(place_of(place, broken), outcomes, *PACKING)
        told = capsys.readouterr().err.splitlines()
        assert len(told) <= 1
        assert all(line.isprintable() for line in told)

    with counted(kind, capsys) as outcomes:
        tried(place_of(place, mine[0][: len(mine[0]) // 2]), outcomes, *PACKING)  # refused, whatever hypothesis finds
        run()
    assert {path.name for path in tmp_path.iterdir()} <= {"kept", place.name}


PUBLISHED = {
    "CIFAR-100 pickles": cifar100_pickles,
    "CIFAR-100 records": cifar100_records,
    "SVHN": lambda: {"train_32x32.mat": svhn(slice(0, 3), packed=False), "test_32x32.mat": svhn(slice(0, 9))},
    "STL-10": stl10,
    "npz files": lambda: {
        "kmnist-train-imgs.npz": npz(arr_0=PIXELS[:8, ..., 0]),
        "kmnist-train-labels.npz": npz(arr_0=LABELS[:8]),
        "kmnist-test-imgs.npz": npz(arr_0=PIXELS[8:, ..., 0]),
        "kmnist-test-labels.npz": npz(arr_0=LABELS[8:]),
    },
}
"""The files of a few images of each published set."""


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_broken_published_set_is_read_or_refused(kind: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "kept"))
    files, root = PUBLISHED[kind](), tmp_path / "set"
    root.mkdir()

    def opened(changed: dict[str, bytes]) -> Callable[[], object]:
        for name, blob in (files | changed).items():
            (root / name).write_bytes(blob)
        return lambda: Folder(str(root), 16, split="all", on_error="skip").open("cpu")

    @fuzzed(ROUNDS)
    @given(st.sampled_from(list(files)), EDITS, st.booleans())
    def run(name: str, edits: Edits, near: bool) -> None:
        blob = files[name]
        if near and name.endswith(".npz"):  # broken within, so that the checksums are right
            tried(
                opened({name: repacked({each: edited(b, b, edits) for each, b in members(blob).items()})}),
                outcomes,
                *PACKING,
            )
            return
        edge = blob[:400] if near else blob  # most of a file is pixels: half of the changes are made in front of them
        tried(opened({name: edited(edge, blob, edits) + blob[len(edge) :]}), outcomes, *PACKING)

    with counted(kind, capsys) as outcomes:
        name, blob = list(files.items())[-1]
        tried(opened({name: blob[: len(blob) // 2]}), outcomes, *PACKING)  # refused, whatever hypothesis finds
        run()
    assert {path.name for path in tmp_path.iterdir()} <= {"kept", "set"}


def batch(protocol: int) -> bytes:
    pixels = np.arange(20 * 3072, dtype=np.uint32).reshape(20, 3072).astype(np.uint8)
    return pickle.dumps(
        {b"data": pixels, b"labels": [i % 10 for i in range(20)], b"filenames": [b"x.png"] * 20}, protocol
    )


def summed_anew(tar: bytes) -> bytes:
    """A tar with the checksums of its first two heads made right, so that what was changed in them is read at all."""
    blob = bytearray(tar)
    for at in (0, 1_024):
        if at + 512 <= len(blob):
            blob[at + 148 : at + 156] = b" " * 8
            blob[at + 148 : at + 156] = b"%06o\0 " % sum(blob[at : at + 512])
    return bytes(blob)


@pytest.mark.parametrize("kind", ["pickle", "records", "tar", "tar.gz"])
def test_a_broken_cifar_is_read_or_refused(kind: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(cifar10_files, "PER_BATCH", 20)  # small, to be quick
    layout = LAYOUTS[kind == "records"]
    name = layout.files("test")[0]
    records = np.concatenate([np.arange(20)[:, None] % 10, np.ones((20, 3072))], 1).astype(np.uint8).tobytes()

    def packed(blob: bytes) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for member, body in ((f"{layout.folder}/readme.html", b"hello"), (f"{layout.folder}/{name}", blob)):
                entry = tarfile.TarInfo(member)
                entry.size = len(body)
                tar.addfile(entry, io.BytesIO(body))
        return file.getvalue()

    whole = {
        "pickle": [batch(3), batch(4)],
        "records": [records],
        "tar": [packed(batch(4))],
        "tar.gz": [gzip.compress(packed(batch(4)))],
    }[kind]
    path = tmp_path / (layout.archive if "tar" in kind else name)

    @fuzzed(ROUNDS)
    @given(st.sampled_from(whole), EDITS, st.booleans())
    def run(blob: bytes, edits: Edits, near: bool) -> None:
        # Most of a batch is pixels: half of the changes are made where its program is.
        edge = blob[:2_000] if near and kind in ("pickle", "tar") else blob
        broken = edited(edge, blob, edits) + blob[len(edge) :]
        path.write_bytes(gzip.compress(summed_anew(broken), 1) if kind == "tar" else broken)
        place = path if "tar" in kind else tmp_path
        tried(lambda: cifar10_files.read_cifar10(place, layout, "test"), outcomes)

    with counted(f"CIFAR-10 {kind}", capsys) as outcomes:
        run()
    assert list(tmp_path.iterdir()) == [path]
