"""What a file is, by the end of its name or by its first bytes: an image that is read, one that is not, or no image.

Photographs in the raw formats of cameras are TIFF inside: without this table they would be read by their thumbnail.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
SIGNATURE_BYTES = 4096
"""Number of bytes at the beginning of a file that are enough to tell what it is."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,7}")
"""Suffixes by which files without images are counted."""
TIFF_NEW_SUBFILE, TIFF_SUB_IFDS, DNG_VERSION = 254, 330, 50706
"""Tags of TIFF: whether its first image is a thumbnail, where the full one is, and the mark of a DNG."""


@dataclass(frozen=True)
class UnreadKind:
    """A kind of files that hold images or films, and are not read."""

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[tuple[int, bytes], ...]
    """Bytes at an offset, each of which is proof."""
    advice: str

    def __str__(self) -> str:
        return f"it is {self.name}: {self.advice}"

    def matches(self, head: bytes) -> bool:
        """Whether the first bytes of a file are those of this kind."""
        return any(head[at : at + len(sign)] == sign for at, sign in self.signatures)


_CONVERT = "convert it to PNG or JPEG"
HEIC = UnreadKind(
    "a HEIC image",
    (".heic", ".heif", ".hif"),
    tuple((4, b"ftyp" + brand) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")),
    "install pillow-heif (pip install 'limpid-diffusion[heic]'), or convert it to JPEG",
)
CAMERA_RAW = UnreadKind(
    "a raw photograph",
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mef"),
        *(".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"),
        ".x3f",
    ),
    (
        *((4, b"ftypcrx "), (0, b"FUJIFILMCCD-RAW"), (0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR")),
        *((0, b"IIU\0"), (0, b"FOVb"), (6, b"HEAPCCDR")),
    ),
    "develop it to PNG or JPEG, for example with darktable or rawpy",
)
NUMPY_ARRAY = UnreadKind(
    "a NumPy array", (".npy",), ((0, b"\x93NUMPY"),), "name the array itself with --data.root, or save it as PNG"
)
UNREAD_KINDS = (
    HEIC,
    CAMERA_RAW,
    UnreadKind("a JPEG XL image", (".jxl",), ((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL ")), _CONVERT),
    UnreadKind(
        "a JPEG 2000 image",
        (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jpm"),
        ((0, b"\0\0\0\x0cjP  "), (0, b"\xff\x4f\xff\x51")),
        _CONVERT,
    ),
    UnreadKind("a TGA image", (".tga", ".icb", ".vda", ".vst"), (), _CONVERT),
    UnreadKind("a Photoshop document", (".psd", ".psb"), ((0, b"8BPS"),), "export it as PNG"),
    UnreadKind("an icon file", (".ico", ".cur"), ((0, b"\0\0\1\0"),), _CONVERT),
    UnreadKind("a DDS texture", (".dds",), ((0, b"DDS "),), _CONVERT),
    UnreadKind("an OpenEXR image", (".exr",), ((0, b"v/1\x01"),), "map its values to 8 bits and save it as PNG"),
    UnreadKind(
        "a Radiance HDR image",
        (".hdr",),
        ((0, b"#?RADIANCE"), (0, b"#?RGBE")),
        "map its values to 8 bits and save it as PNG",
    ),
    UnreadKind(
        "a DICOM image", (".dcm", ".dicom", ".ima"), ((128, b"DICM"),), "export it as PNG, for example by pydicom"
    ),
    UnreadKind(
        "a NIfTI volume",
        (".nii", ".nii.gz"),
        ((344, b"n+1\0"), (344, b"ni1\0")),
        "save its slices as PNG or .npz, for example by nibabel",
    ),
    UnreadKind("an SVG drawing", (".svg", ".svgz"), ((0, b"<svg"),), "render it to PNG"),
    UnreadKind(
        "a video",
        (
            *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"),
            *(".webm", ".wmv"),
        ),
        (
            *(
                (4, b"ftyp" + brand)
                for brand in (b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  ", b"3gp")
            ),
            *((0, b"\x1aE\xdf\xa3"), (8, b"AVI LIST"), (0, b"FLV\x01"), (0, b"\0\0\1\xba")),
        ),
        "extract its frames as images, for example by ffmpeg",
    ),
    NUMPY_ARRAY,
)
_BY_SUFFIX = {suffix: kind for kind in UNREAD_KINDS for suffix in kind.suffixes}


def has_signature(head: bytes) -> bool:
    """Whether the first bytes of a file, 12 or more, are those of an image that is read."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(SIGNATURES) or webp or _is_avif(head)


def unread_kind(head: bytes) -> UnreadKind | None:
    """The kind of image or film that is not read, by the first bytes of its file; None for what may be an image."""
    if head.startswith(SIGNATURES[:4]):  # nearly all images, and none of the kinds
        return None
    if head.startswith(SIGNATURES[4:]):
        return CAMERA_RAW if _is_raw_tiff(head) else None
    if _is_avif(head):
        return None
    if head.startswith((b"<?xml", b"<!DOCTYPE svg")) and b"<svg" in head:
        head = b"<svg"
    kind = next((kind for kind in UNREAD_KINDS if kind.matches(head)), None)
    return None if kind is HEIC and heic_is_read() else kind


def kind_of_file(name: str, read_head: Callable[[int], bytes]) -> UnreadKind | str | None:
    """None for an image that is read, else its kind, or that of a file without an image: by its name, or else by its
    first bytes."""
    lower = name.lower()
    if lower.endswith(SUFFIXES):
        return None
    suffix = _suffix(lower)
    if (kind := _BY_SUFFIX.get(suffix)) is not None:
        return None if kind is HEIC and heic_is_read() else kind
    head = read_head(SIGNATURE_BYTES)
    if has_signature(head) or HEIC.matches(head):
        return unread_kind(head)
    return unread_kind(head) or suffix_kind(name)


def suffix_kind(name: str) -> str:
    """What files like this one are called where they are counted by the ends of their names: ".txt files"."""
    suffix = _suffix(name.lower())
    return f"{suffix} files" if _SUFFIX.fullmatch(suffix) else "other files"


def heic_is_read() -> bool:
    """Whether the package that reads HEIC is installed."""
    return find_spec("pillow_heif") is not None


def _suffix(name: str) -> str:
    base = name.rpartition("/")[2]
    if base.endswith(".nii.gz"):
        return ".nii.gz"
    dot = base.rfind(".")
    return base[dot:] if dot > 0 else ""


def _is_avif(head: bytes) -> bool:
    """Whether AVIF is the main or a compatible brand: its main one may be mif1, which HEIC has too."""
    return head[4:12] in (b"ftypavif", b"ftypavis") or (
        head[4:12] in (b"ftypmif1", b"ftypmsf1") and b"avif" in head[16:64]
    )


def _is_raw_tiff(head: bytes) -> bool:
    """Whether a TIFF is a CR2, or its first directory that of a DNG or of a thumbnail whose full image is elsewhere."""
    if head[8:10] == b"CR":
        return True
    tags = dict(_tiff_tags(head))
    return DNG_VERSION in tags or (tags.get(TIFF_NEW_SUBFILE) == 1 and TIFF_SUB_IFDS in tags)


def _tiff_tags(head: bytes) -> Iterator[tuple[int, int]]:
    """The tags of the first directory of a TIFF and the numbers in them, as far as they are in `head`."""
    order = "little" if head[:1] == b"I" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], order)

    start = number(4, 4)
    for at in range(start + 2, min(start + 2 + 12 * number(start, 2), len(head) - 11), 12):
        yield number(at, 2), number(at + 8, 2 if number(at + 2, 2) == 3 else 4)
