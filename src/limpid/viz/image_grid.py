"""Image grids: images in rows and columns, enlarged by an integer factor, with optional labels."""

from collections.abc import Mapping, Sequence
from math import ceil, isqrt
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from torch import Tensor, uint8

from limpid.storage.atomic import atomic_write
from limpid.viz.text import extent, typeset

BACKGROUND, TITLE_COLOR, LABEL_COLOR = (236, 236, 234), (32, 33, 36), (85, 89, 94)
MAX_CELL = 96
"""Small images are enlarged to at most this many pixels: twelvefold for 8, threefold for 32."""


def image_grid(
    pixels: UInt8[Tensor, "n c h w"],
    columns: int = 0,
    scale: int = 0,
    gap: int = 2,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
) -> Image.Image:
    """The images in reading order on one RGB sheet; transparent pixels show the background.

    With `columns` 0 there is one for each column label, or without labels the sheet is nearly square; with `scale` 0
    small images are enlarged to about 64-96 pixels. The sheet is large enough for every label. Raises ValueError for
    images that are not uint8, and for fewer or more labels than rows or columns. Of 2 channels the first is shown, and
    of more than 4 the first three; the title then states this.
    """
    cells = to_pil_images(pixels)
    title = "; ".join(filter(None, (title, channels_note(pixels.shape[1]))))
    columns = (
        columns or len(column_labels) or (ceil(len(cells) / len(row_labels)) if row_labels else near_square(len(cells)))
    )
    count = ceil(len(cells) / columns)
    check_label_count("row", row_labels, count)
    check_label_count("column", column_labels, columns)
    scale = scale or max(1, MAX_CELL // max(cells[0].size))
    width, height = cells[0].width * scale, cells[0].height * scale

    size = min(20, max(13, max(width, height) // 6))
    (row_width, row_height), (column_width, column_height) = extent(row_labels, size), extent(column_labels, size)
    title_width, title_height = extent([title] if title else [], size + 3)
    margin = size if row_labels or column_labels or title else gap
    left = margin + (row_width + size // 2 if row_labels else 0)
    top = margin + (title_height + size // 2 if title else 0) + (column_height + size // 2 if column_labels else 0)
    x_step, y_step = gap + max(width, column_width + size // 2 if column_labels else 0), gap + max(height, row_height)
    right = max(left + columns * x_step - gap, margin + title_width)
    sheet = Image.new("RGB", (right + margin, top + count * y_step - gap + margin), BACKGROUND)

    for i, cell in enumerate(cells):
        row, column = divmod(i, columns)
        corner = left + column * x_step + (x_step - gap - width) // 2, top + row * y_step + (y_step - gap - height) // 2
        cell = cell.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(cell.convert("RGB"), corner, cell.getchannel("A") if "A" in cell.getbands() else None)

    draw = ImageDraw.Draw(sheet)
    text, font = typeset(title, size + 3)
    draw.text((margin, margin), text, TITLE_COLOR, font)
    for row, label in enumerate(row_labels):
        middle = top + row * y_step + (y_step - gap) // 2
        text, font = typeset(label, size)
        draw.text((left - size // 2, middle), text, LABEL_COLOR, font, anchor="rm", align="right")
    for column, label in enumerate(column_labels):
        middle = left + column * x_step + (x_step - gap) // 2
        text, font = typeset(label, size)
        draw.text((middle, top - size // 2 - column_height), text, LABEL_COLOR, font, anchor="ma", align="center")
    return sheet


def strip(
    pixels: UInt8[Tensor, "rows columns c h w"],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str = "",
) -> Image.Image:
    """An image grid with one image for each row and column. Raises as `image_grid` does."""
    return image_grid(
        pixels.flatten(0, 1), pixels.shape[1], row_labels=row_labels, column_labels=column_labels, title=title
    )


def atlas(pixels: UInt8[Tensor, "rows columns c h w"]) -> Image.Image:
    """All images side by side in one image, without gaps, for a program that cuts them out again."""
    rows, columns, c, h, w = pixels.shape
    return to_pil_images(pixels.permute(2, 0, 3, 1, 4).reshape(1, c, rows * h, columns * w))[0]


def near_square(n: int) -> int:
    """The number of columns for n images: the fewest for a grid not higher than wide, or a few more if no cell is then
    empty."""
    least = isqrt(n - 1) + 1
    return next((columns for columns in range(least, 3 * least // 2 + 1) if n % columns == 0), least)


def to_pil_images(pixels: UInt8[Tensor, "n c h w"]) -> list[Image.Image]:
    """Each image as a PIL image: 1 channel is grey, 3 are RGB, 4 RGBA; of 2 the first is shown, of more the first 3.

    Raises ValueError unless they are uint8.
    """
    if pixels.dtype != uint8:
        raise ValueError(f"images are {pixels.dtype}: expected uint8")
    n, channels, _, _ = pixels.shape
    if n == 0 or channels == 0:
        raise ValueError("no images were given: expected at least one")
    shown = num_shown(channels)
    arrays = pixels[:, :shown].detach().cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(array[:, :, 0] if shown == 1 else array) for array in arrays]


def num_shown(channels: int) -> int:
    """The number of channels that are shown of images with `channels` channels."""
    return channels if channels in (1, 3, 4) else 1 if channels == 2 else 3


def channels_note(channels: int) -> str:
    """Which channels are shown, for a title; empty where all of them are."""
    shown = num_shown(channels)
    if shown == channels:
        return ""
    return f"channel 1 of {channels}" if shown == 1 else f"channels 1, 2, 3 of {channels} as red, green, blue"


def check_label_count(name: str, labels: Sequence[str], expected: int) -> None:
    """Raise ValueError unless there are as many labels as expected, or none."""
    if labels and len(labels) != expected:
        raise ValueError(f"{len(labels)} {name} labels: expected {expected}, one for each {name}, or none")


def save_png(image: Image.Image, path: Path | str, text: Mapping[str, str] | None = None) -> Path:
    """Write the image as PNG, with `text` as its metadata; the write is atomic."""
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{str(path)!r}: expected a path that ends in .png")
    notes = PngInfo()
    for key, value in (text or {}).items():
        notes.add_itxt(key, value)
    with atomic_write(path) as part:
        image.save(part, format="PNG", pnginfo=notes)
    return Path(path)


def save_images(pixels: UInt8[Tensor, "n c h w"], folder: Path | str, names: Sequence[str]) -> list[Path]:
    """Write each image in its own size as `folder/name.png`. Raises ValueError unless each has a different name."""
    channels = pixels.shape[1]
    if num_shown(channels) != channels:
        raise ValueError(f"a PNG holds 1, 3 or 4 channels, and the images have {channels}: save them as .npz")
    images = to_pil_images(pixels)
    if len(images) != len(names) or len(set(names)) != len(names):
        raise ValueError(f"{len(set(names))} different names for {len(images)} images: expected one for each")
    return [save_png(image, Path(folder, f"{name}.png")) for image, name in zip(images, names, strict=True)]
