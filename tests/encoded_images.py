"""Images encoded in every format, and decoded."""

import io

import numpy as np
import tifffile
import torch
from PIL import Image, features
from torch import Tensor

from limpid.data.readers.decode import decode
from limpid.data.readers.fit import Channels, Fit, ImageSpec


def smooth_image(*shape: int) -> np.ndarray:
    """Random colours that change slowly from pixel to pixel, so that lossy codecs change them little."""
    coarse = torch.rand(1, shape[-1] if len(shape) == 3 else 1, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, shape[:2], mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
    return (smooth * 255).to(torch.uint8).numpy().reshape(shape)


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def planes(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)


def read(blob: bytes, size: tuple[int, int], channels: Channels = "RGB", fit: Fit = "crop") -> Tensor:
    return decode(blob, ImageSpec(*size, channels, fit)).pixels


def mixed_pages() -> bytes:
    """A big-endian TIFF of compressed pages, of which Pillow and tifffile read one after the other."""
    file, values = io.BytesIO(), np.random.default_rng(0).integers(256, size=(40, 48), dtype=np.uint8)
    with tifffile.TiffWriter(file, byteorder=">") as tiff:
        for page in (values, values / 255, values.astype(np.uint16), (values / 255).astype(np.float32)):
            tiff.write(page, photometric="minisblack", compression="zlib")
    return file.getvalue()


def images_of_each_format() -> dict[str, list[bytes]]:
    """A few images of each format, in its modes and with its rarer parts, such as Exif, transparency and pages."""
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
