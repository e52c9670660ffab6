"""One image: from the bytes of a file to pixels of a given shape.

Rotated by its EXIF data, values of more than 8 bits scaled, palettes and CMYK converted to RGB, transparency composited
over white; then cropped and resized. Any fault of the bytes is a ValueError of one line. Formats that run another
program are not read.
"""

from contextlib import nullcontext
from functools import lru_cache, partial
from io import BytesIO
from threading import Lock

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

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
from limpid.data.readers.pages import page_numbers, read_pages
from limpid.data.readers.reduced_jpeg import fit_reduced, reduce_jpeg
from limpid.data.readers.tiff import fit_tiff, is_tiff
from limpid.data.readers.tiff_directories import full_pages, is_grey, tiff_directories

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
        if is_tiff(blob) and needs_tifffile(blob, spec):
            return read_pages(full_pages(blob) or [0], partial(fit_tiff, blob, spec), spec)
        with open_image(blob) as image:
            return read_pages(page_numbers(image, blob, spec), partial(fit_page, image, spec), spec)
    except UnidentifiedImageError as error:
        raise ValueError("it is in no known format") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it claims too many pixels: expected at most {MAX_PIXELS:,}") from error
    except Exception as error:  # Pillow raises nearly any exception for broken files
        raise ValueError(one_line(error)) from error


def needs_tifffile(blob: bytes, spec: ImageSpec) -> bool:
    """Whether Pillow cannot read a TIFF as `spec` asks: grey of number types that it does not know, any number of
    channels, and the lower 8 of 16 bits of colours. Compressed big-endian numbers of 32 bits, or of 16 with a sign, it
    reads in the wrong byte order."""
    if isinstance(spec.channels, int) and spec.channels > 1:
        return True
    try:
        with open_image(blob) as image:
            stored, compression = stored_values(image), image.info.get("compression")
    except UnidentifiedImageError:
        return is_grey(next(tiff_directories(blob), []))
    if stored.in_colours:
        return spec.value_range is not None
    swapped = blob.startswith(b"MM") and compression != "raw"
    return swapped and (stored.bits > 16 or (stored.bits == 16 and stored.signed))


def open_image(blob: bytes) -> Image.Image:
    """An image whose header is read. Raises ValueError for a HEIC that nothing can read, and whatever Pillow raises."""
    if blob.startswith(b"\xff\xd8\xff"):  # not by `Image.open`, which limits the pixels before the size is reduced
        return JpegImageFile(BytesIO(blob))
    if blob[4:8] == b"ftyp" and blob[8:12] in HEIF_BRANDS:
        register_heif()
        return Image.open(BytesIO(blob), formats=["HEIF"])
    return Image.open(BytesIO(blob), formats=_formats())


def fit_page(image: Image.Image, spec: ImageSpec, page: int) -> DecodedImage:
    """A page or frame of an open image, converted to `spec`. Raises as `fit_image` does."""
    if page:
        image.seek(page)
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
