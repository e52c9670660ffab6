"""Sets of images on disk: how tests write them, open them and compare them."""

from pathlib import Path

import numpy as np
import torch

from limpid.data import Folder
from limpid.data.images import ImageDataset


def images_of(root: Path, split: str = "all", **options: object) -> ImageDataset:
    source = Folder(str(root), 8, split=split, **options).open("cpu")  # pyright: ignore[reportArgumentType]
    assert isinstance(source, ImageDataset)
    return source


def write(root: Path, **files: bytes) -> Path:
    for name, blob in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(blob)
    return root


def assert_set(images: ImageDataset, pixels: np.ndarray, labels: np.ndarray) -> None:
    """That these are the images and the labels."""
    assert torch.equal(images.pixels, torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2))
    assert images.labels.tolist() == labels.tolist()
