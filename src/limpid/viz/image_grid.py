"""Pictures on one sheet: in rows and columns, enlarged by whole pixels, with labels where they are given."""

from collections.abc import Mapping, Sequence
from math import ceil, isqrt
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor, uint8

from limpid.storage.atomic import atomic_write
from limpid.viz.text import extent, to_ascii

GROUND, INK, FAINT = (236, 236, 234), (32, 33, 36), (85, 89, 94)
CELL = 96
"""Small pictures are enlarged to at most this many pixels, whatever their size: twelvefold for 8, threefold for 32."""


def image_grid(
    pixels: UInt8[Tensor, "n c h w"],
    columns: int = 0,
    scale: int = 0,
    gap: int = 2,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
) -> Image.Image:
    """The pictures in reading order on one RGB sheet; what is transparent shows the ground.

    `columns` 0 is one per head, else as many as make the sheet near square; `scale` 0 enlarges small pictures to about
    64-96 pixels. `rows` labels the rows, `heads` the columns: the sheet grows until every label fits. Raises ValueError
    for pictures that are not uint8 with 1 (grey), 2, 3 (RGB) or 4 channels, and unless every row or column has a label.
    """
    cells = to_pil_images(pixels)
    columns = (
        columns or len(column_labels) or (ceil(len(cells) / len(row_labels)) if row_labels else near_square(len(cells)))
    )
    count = ceil(len(cells) / columns)
    check_labels("rows", row_labels, count)
    check_labels("heads", column_labels, columns)
    scale = scale or max(1, CELL // max(cells[0].size))
    width, height = cells[0].width * scale, cells[0].height * scale

    size = min(20, max(13, max(width, height) // 6))
    (row_width, row_height), (head_width, head_height) = extent(row_labels, size), extent(column_labels, size)
    title_width, title_height = extent([title] if title else [], size + 3)
    margin = size if row_labels or column_labels or title else gap
    left = margin + (row_width + size // 2 if row_labels else 0)
    top = margin + (title_height + size // 2 if title else 0) + (head_height + size // 2 if column_labels else 0)
    across, down = gap + max(width, head_width + size // 2 if column_labels else 0), gap + max(height, row_height)
    right = max(left + columns * across - gap, margin + title_width)
    sheet = Image.new("RGB", (right + margin, top + count * down - gap + margin), GROUND)

    for i, cell in enumerate(cells):
        row, column = divmod(i, columns)
        at = left + column * across + (across - gap - width) // 2, top + row * down + (down - gap - height) // 2
        cell = cell.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(cell.convert("RGB"), at, cell.getchannel("A") if "A" in cell.getbands() else None)

    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    draw.text((margin, margin), to_ascii(title), INK, ImageFont.load_default(size + 3))
    for row, label in enumerate(row_labels):
        middle = top + row * down + (down - gap) // 2
        draw.text((left - size // 2, middle), to_ascii(label), FAINT, font, anchor="rm", align="right")
    for column, label in enumerate(column_labels):
        middle = left + column * across + (across - gap) // 2
        draw.text((middle, top - size // 2 - head_height), to_ascii(label), FAINT, font, anchor="ma", align="center")
    return sheet


def strip(
    pixels: UInt8[Tensor, "rows columns c h w"], rows: Sequence[str], heads: Sequence[str], title: str = ""
) -> Image.Image:
    """A labelled table of pictures: what each row shows under the head of each column. Raises as `grid` does."""
    return image_grid(pixels.flatten(0, 1), columns=pixels.shape[1], row_labels=rows, column_labels=heads, title=title)


def near_square(n: int) -> int:
    """Columns for n pictures: the least that is not higher than wide, or a few more if that leaves no place empty."""
    least = isqrt(n - 1) + 1
    return next((columns for columns in range(least, 3 * least // 2 + 1) if n % columns == 0), least)


def to_pil_images(pixels: UInt8[Tensor, "n c h w"]) -> list[Image.Image]:
    """Every picture as an image of its own size. Raises ValueError unless they are uint8, of 1 to 4 channels."""
    if pixels.dtype != uint8:
        raise ValueError(f"pictures are uint8, not {pixels.dtype}")
    n, channels, _, _ = pixels.shape
    if not 1 <= channels <= 4:
        raise ValueError(f"pictures of {channels} channels: expected 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)")
    if n == 0:
        raise ValueError("no pictures were given: expected at least one")
    last = pixels.detach().cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(p[:, :, 0] if channels == 1 else p) for p in last]


def check_labels(name: str, labels: Sequence[str], expected: int) -> None:
    """Raises ValueError unless there are as many labels as expected, or none."""
    if labels and len(labels) != expected:
        raise ValueError(f"{len(labels)} {name} were named: expected {expected}, one for each, or none")


def save_png(image: Image.Image, path: Path | str, text: Mapping[str, str] | None = None) -> Path:
    """Write the image as PNG, with `text` as its metadata; the file is there whole or not at all."""
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"pictures are saved as PNG: expected a path that ends in .png, not {str(path)!r}")
    notes = PngInfo()
    for key, value in (text or {}).items():
        notes.add_itxt(key, value)
    with atomic_write(path) as part:
        image.save(part, format="PNG", pnginfo=notes)
    return Path(path)


def save_images(pixels: UInt8[Tensor, "n c h w"], folder: Path | str, names: Sequence[str]) -> list[Path]:
    """Write each picture in its own size as `folder/name.png`. Raises ValueError unless each has a name of its own."""
    images = to_pil_images(pixels)
    if len(images) != len(names) or len(set(names)) != len(names):
        raise ValueError(f"{len(set(names))} different names for {len(images)} pictures: expected one for each")
    return [save_png(image, Path(folder, f"{name}.png")) for image, name in zip(images, names, strict=True)]
