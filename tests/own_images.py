"""A few images of one's own, as files, folders and zips."""

import io
import zipfile
from pathlib import Path

import torch
from PIL import Image

from limpid.data import Folder
from limpid.data.images import ImageDataset

PIXELS = torch.randint(256, (40, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def image(index: int) -> Image.Image:
    return Image.fromarray(PIXELS[index].permute(1, 2, 0).numpy())


def png(index: int = 0) -> bytes:
    file = io.BytesIO()
    image(index).save(file, "PNG")
    return file.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, blob in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(blob)
    return root


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, blob in files.items():
            archive.writestr(name, blob)
    return path


def open_all(root: Path, **options: object) -> ImageDataset:
    """All images of a folder or a file, in their own size."""
    given = {"size": 16, "width": 20, "split": "all"} | options
    source = Folder(str(root), **given).open("cpu")  # pyright: ignore[reportArgumentType]
    assert isinstance(source, ImageDataset)
    return source


def numbers(images: ImageDataset) -> list[int]:
    """The index in PIXELS of each image."""
    return [(one == PIXELS).flatten(1).all(1).nonzero().item() for one in images.pixels]  # pyright: ignore[reportReturnType]


CLASSES = {f"{'cat' if i % 3 else 'dog'}/{i:02d}.png": png(i) for i in range(12)}
EXPECTED = [i for i in range(12) if i % 3] + [0, 3, 6, 9]
