"""Which reader reads a file or a folder: the table of forms, each known by its first bytes or its name's end."""

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from limpid.data.readers.cifar100 import is_cifar100, is_cifar100_folder, scan_cifar100
from limpid.data.readers.file_kinds import HEIC, SUFFIXES, has_signature, suffix_kind
from limpid.data.readers.hdf5 import is_hdf5, scan_hdf5
from limpid.data.readers.idx import IDX_NAMES, is_idx, scan_idx, scan_idx_files
from limpid.data.readers.listing import ImageListing, LeftOut, LeftOutCounter, NoImagesError, UnreadableImage
from limpid.data.readers.matlab import is_matlab
from limpid.data.readers.npz import scan_npy, scan_npy_files, scan_npz
from limpid.data.readers.npz_files import scan_npz_files
from limpid.data.readers.parquet import scan_parquet
from limpid.data.readers.scan import scan_folder, walk
from limpid.data.readers.stl10 import is_stl10_folder, scan_stl10
from limpid.data.readers.svhn import is_svhn_folder, scan_matlab
from limpid.data.readers.tar_files import TAR_NAMES, is_tar, scan_tar, scan_tars
from limpid.data.readers.zip_files import scan_zip
from limpid.runtime.terminal import printable
from limpid.storage.regular_files import require_regular

HEAD_BYTES = 512
PEEKED = 2_000
"""Number of files by which a folder's form is found, and the depth below it."""
FEW_IMAGES = 20
"""A folder with this many image files is one of images. With fewer they may be previews of a set in another form."""

Scan = Callable[[Path, str], ImageListing]
"""Lists the images at a path. The text names the labels where there are several, and is empty otherwise."""


class Form(NamedTuple):
    """A form of image sets: whether a file is of it, and who reads the file, or a folder of such files."""

    name: str
    matches: Callable[[Path, bytes], bool]
    """Whether a file of this path and these first bytes is of the form."""
    scan: Scan
    names: re.Pattern[str] | None = None
    """What the names of such files are in a folder of them."""
    scan_files: Callable[[Path, list[str], str], ImageListing] | None = None
    """Lists the images of a folder with these files of the form."""
    is_folder: Callable[[Path], bool] | None = None
    """Whether a folder is a set of the form, by the names of the files that are published; `scan` lists its images."""


def _is_zip(path: Path, head: bytes) -> bool:
    return zipfile.is_zipfile(path)


def _is_npz(path: Path, head: bytes) -> bool:
    """Whether a file is a zip, and the first file in it an array."""
    try:
        with zipfile.ZipFile(path) as archive:
            return path.suffix.lower() == ".npz" or any(name.endswith(".npy") for name in archive.namelist()[:1])
    except Exception:  # it is no zip, or the reader says what is wrong with it
        return False


FORMS = (
    Form(
        "parquet",
        lambda path, head: head.startswith(b"PAR1"),
        lambda path, label: scan_parquet(path, [""], label),
        re.compile(r".*\.parquet"),
        scan_parquet,
    ),
    Form("an .npz of arrays", _is_npz, scan_npz, re.compile(r"(?i).*\.npz"), scan_npz_files),
    Form("a .npy", lambda path, head: head.startswith(b"\x93NUMPY"), scan_npy, re.compile(r".*\.npy"), scan_npy_files),
    Form("idx", is_idx, scan_idx, IDX_NAMES, scan_idx_files),
    Form("HDF5", is_hdf5, scan_hdf5),
    Form("CIFAR-100", is_cifar100, scan_cifar100, is_folder=is_cifar100_folder),
    Form("MATLAB 5, as SVHN", is_matlab, scan_matlab, is_folder=is_svhn_folder),
    Form("STL-10", lambda path, head: False, scan_stl10, is_folder=is_stl10_folder),
    Form("a .tar or .tar.gz of images", is_tar, scan_tar, TAR_NAMES, scan_tars),
    Form("a .zip of images", _is_zip, scan_zip),
)
"""The forms in the order in which they are tried."""
EXPECTED = "expected a folder of images, or " + ", ".join(form.name for form in FORMS)
OTHER_FORMS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it, and name the folder",
    b"Rar!": "a RAR archive: unpack it, and name the folder",
    b"\xfd7zXZ\0": "compressed by xz: unpack it, and name what is in it",
    b"\x1f\x8b": "compressed by gzip, and not a complete tar or idx: unpack it, and name what is in it",
    b"BZh": "compressed by bzip2: unpack it, and name what is in it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it, and name what is in it",
    b"ARROW1": "an Arrow file: write it as parquet, with Dataset.to_parquet of `datasets`",
    b"\xff\xff\xff\xff": "an Arrow stream: write it as parquet, with Dataset.to_parquet of `datasets`",
    b"SQLite format 3": "an SQLite database: write its images as files",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip without its directory at the end: it is not complete, copy it again",
}
"""Forms that are not read, by their first bytes, and what helps."""


def scan(root: Path, label: str = "") -> ImageListing:
    """The images of a folder or file in whatever form it has; `label` names the labels where there are several.

    Raises ValueError if the form is none that is read, and says which it is.
    """
    if root.is_dir():
        return _scan_folder(root, label)
    require_regular(root)
    with root.open("rb") as file:
        head = file.read(HEAD_BYTES)
    form = next((form for form in FORMS if form.matches(root, head)), None)
    if form is None:
        raise ValueError(f"cannot read {printable(str(root))}: {_what_it_is(head)}; {EXPECTED}")
    return form.scan(root, label)


def _scan_folder(root: Path, label: str) -> ImageListing:
    """The images of a folder: of a published set, or of the files of a form if they hold more images than there are
    image files beside them; else of all image files."""
    published = next((form for form in FORMS if form.is_folder and form.is_folder(root)), None)
    if published:
        return published.scan(root, label)
    names = list(islice(_file_names(root), PEEKED))
    images = [name for name in names if name.lower().endswith((*SUFFIXES, *HEIC.suffixes))]
    without: NoImagesError | None = None
    for form in FORMS if len(images) < FEW_IMAGES else ():
        if form.scan_files and form.names and any(map(form.names.fullmatch, names)):
            mine = [name for name in _file_names(root) if form.names.fullmatch(name)]
            try:
                listing = form.scan_files(root, mine, label)
            except NoImagesError as error:
                without = without or error
                continue
            if len(listing.names) > len(images):
                return replace(listing, left_out=(*listing.left_out, *_others(root, set(mine))))
    if without and not images:
        raise without
    return scan_folder(root, label)


def _others(root: Path, read: set[str]) -> tuple[LeftOut, ...]:
    """The files of a folder beside those that are read, by the ends of their names."""
    left_out = LeftOutCounter()
    for name in _file_names(root):
        if name not in read:
            left_out.add(suffix_kind(name), name)
    return left_out.records()


def _file_names(root: Path) -> Iterator[str]:
    """The names of the visible files of a folder and below it."""
    return (each.name for each in walk(root) if not isinstance(each, UnreadableImage))


def _what_it_is(head: bytes) -> str:
    """What a file with these first bytes is that is not read."""
    if not head:
        return "it is empty"
    if has_signature(head[:12]):
        return "it is one image: name the folder that it is in"
    known = next((what for signature, what in OTHER_FORMS.items() if head.startswith(signature)), None)
    return f"it is {known}" if known else f"it begins with {head[:8]!r}, which is no form of images that is known"
