"""One image: from the bytes of a file to pixels of a given shape.

Rotated by its EXIF data, values of more than 8 bits scaled, palettes and CMYK converted to RGB, transparency composited
over white; then cropped and resized. Any fault of the bytes is a ValueError of one line. Formats that run another
program are not read.
"""

from contextlib import ExitStack, nullcontext
from functools import cache, lru_cache, partial
from io import BytesIO
from threading import Lock

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from limpid.data.readers.bit_depth import image_of_8_bits, stored_values
from limpid.data.readers.fit import (
    MAX_PIXELS,
    DecodedImage,
    ImageSpec,
    channels_of_image,
    crop_box,
    fit_planes,
)
from limpid.data.readers.messages import one_line
from limpid.data.readers.pages import frame_numbers, read_pages
from limpid.data.readers.reduced_jpeg import fit_reduced, reduce_jpeg
from limpid.data.readers.tiff import fit_tiff, is_tiff, open_tiff
from limpid.data.readers.tiff_directories import TiffDirectory, full_pages, is_grey, tiff_directories

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""The formats that are read, by Pillow's names. Not EPS, which is a program; nor formats without a signature."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What follows `ftyp` in a HEIC or HEIF (ISO/IEC 23008-12, annex B.4)."""
SERIAL_ABOVE_PIXELS = 2**24
"""Images with more pixels are decoded one at a time, so that memory does not grow with the number of threads."""

_large = Lock()


def decode(blob: bytes, spec: ImageSpec) -> DecodedImage:
    """The image in the bytes of a file, converted to `spec`; of several pages or frames the first, or all.

    Raises ValueError, in one line, if it cannot be read.
    """
    if not blob:
        raise ValueError("it is empty")
    try:
        if is_tiff(blob):
            return decode_tiff(blob, spec)
        with open_image(blob) as image:
            return read_pages(frame_numbers(image, spec), partial(fit_frame, image, spec), spec)
    except UnidentifiedImageError as error:
        raise ValueError("it is in no known format") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it claims too many pixels: expected at most {MAX_PIXELS:,}") from error
    except Exception as error:  # Pillow raises nearly any exception for broken files
        raise ValueError(one_line(error)) from error


def decode_tiff(blob: bytes, spec: ImageSpec) -> DecodedImage:
    """The first page of a TIFF, or all: each by Pillow, or by tifffile where Pillow does not read it as `spec` asks.

    Raises ValueError as `open_tiff` does, and whatever Pillow raises.
    """
    directories = list(tiff_directories(blob))
    with ExitStack() as opened:
        image = open_by_pillow(blob, directories, spec)
        if image is not None:
            opened.enter_context(image)
        by_tifffile = cache(lambda: opened.enter_context(open_tiff(blob)))

        def read(page: int) -> DecodedImage:
            if image is None or not is_read_by_pillow(image, page, directories, spec):
                return fit_tiff(by_tifffile()(page), spec)
            return fit_image(image, spec)

        return read_pages(full_pages(directories) or [0], read, spec)


def open_by_pillow(blob: bytes, directories: list[TiffDirectory], spec: ImageSpec) -> TiffImageFile | None:
    """A TIFF at its first page; None where all of it is read by tifffile: any number of channels, and a first page in
    grey of numbers that Pillow does not know."""
    if isinstance(spec.channels, int) and spec.channels > 1:
        return None
    try:
        image = open_image(blob)
    except UnidentifiedImageError:
        if directories and is_grey(directories[0]):
            return None
        raise
    assert isinstance(image, TiffImageFile)
    return image


def is_read_by_pillow(image: TiffImageFile, page: int, directories: list[TiffDirectory], spec: ImageSpec) -> bool:
    """Whether Pillow reads a page of a TIFF rightly; the image is then at this page.

    It knows some types of numbers alone, reads the upper 8 of 16 bits of colours, and compressed big-endian numbers of
    32 bits, or of 16 with a sign, in the wrong byte order.
    """
    try:
        image.seek(page)
    except SyntaxError:  # a type of numbers that it does not know
        if is_grey(directories[page]):
            return False
        raise
    stored = stored_values(image)
    if stored.in_colours:
        return spec.value_range is None
    swapped = image.tag_v2.prefix == b"MM" and image.info.get("compression") != "raw"
    return not (swapped and (stored.bits > 16 or (stored.bits == 16 and stored.signed)))


def open_image(blob: bytes) -> Image.Image:
    """An image whose header is read. Raises ValueError for a HEIC that nothing can read, and whatever Pillow raises."""
    if blob.startswith(b"\xff\xd8\xff"):  # not by `Image.open`, which limits the pixels before the size is reduced
        return JpegImageFile(BytesIO(blob))
    if blob[4:8] == b"ftyp" and blob[8:12] in HEIF_BRANDS:
        register_heif()
        return Image.open(BytesIO(blob), formats=["HEIF"])
    return Image.open(BytesIO(blob), formats=_formats())


def fit_frame(image: Image.Image, spec: ImageSpec, frame: int) -> DecodedImage:
    """A frame of an open image, converted to `spec`. Raises as `fit_image` does."""
    if frame:
        image.seek(frame)
    return fit_image(image, spec)


def fit_image(image: Image.Image, spec: ImageSpec) -> DecodedImage:
    """An open image, converted to `spec`. Raises ValueError if it has too many pixels, and whatever Pillow raises."""
    reduction = reduce_jpeg(image, spec)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"it claims {width}x{height} pixels: expected at most {MAX_PIXELS:,}")
    with _large if image.width * image.height > SERIAL_ABOVE_PIXELS or reduction.is_large else nullcontext():
        if reduction.factor > 1:
            return fit_reduced(image, reduction, spec)
        stored = stored_values(image)
        if getattr(image, "is_animated", False):  # in place, its next frame would be pasted on a rotated one
            image = ImageOps.exif_transpose(image)
        else:
            ImageOps.exif_transpose(image, in_place=True)
        converted = image_of_8_bits(image, stored, spec.value_range)
        window = converted.image.crop(crop_box(image.size, spec)) if spec.fit == "crop" else converted.image
        decoded = fit_planes(channels_of_image(window, spec.channels), spec)
    return decoded._replace(value_range=converted.value_range, highest=converted.highest)


def register_heif() -> None:
    """Let Pillow read HEIC. Raises ValueError if pillow-heif is not installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ValueError("it is a HEIC: pip install 'limpid-diffusion[heic]' to read it") from error
    register_heif_opener()


@lru_cache(maxsize=1)
def _formats() -> list[str]:
    Image.init()
    return [name for name in IMAGE_FORMATS if name in Image.OPEN]  # Pillow reads AVIF from 11.3 on
