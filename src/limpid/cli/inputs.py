"""From the words of a command to values: images, labels, masks."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from limpid.data import DataSource
from limpid.data.readers.scan import read_image
from limpid.recipes.serialize import match_choice
from limpid.sampling.labels import label_from_word
from limpid.sampling.sample import ImageShape
from limpid.sampling.training_data import dataset_image


def output_file(out: Path, name: str) -> Path:
    """The file that `--out` means: a file of this name in it if it is a folder, or has no suffix."""
    return out / name if out.is_dir() or not out.suffix else out


def load_images(
    words: Sequence[str], source: DataSource | None, shape: ImageShape
) -> tuple[UInt8[Tensor, "n c h w"], list[str]]:
    """Images by their index in a data set or by file, and a name for each. Raises ValueError for what is neither.

    Without an index among the words no data set is needed.
    """
    if not words:
        raise ValueError("--images is empty: expected indices in the data set, or files")
    found = {word: (read_image(word, shape), Path(word).stem) for word in words if not word.isdecimal()}
    if source is not None:
        found |= {word: dataset_image(int(word), source) for word in words if word.isdecimal()}
    return torch.stack([found[word][0] for word in words]), [found[word][1] for word in words]


def parse_labels(words: Sequence[str], names: Sequence[str], n: int) -> list[int]:
    """The labels of n images by name or index: one for each, or one for all. Raises ValueError for other numbers."""
    if not names:
        raise ValueError(f"this model is unconditional, so it takes no --labels {' '.join(words)}")
    if len(words) not in (1, n):
        raise ValueError(f"{len(words)} --labels for {n} images: expected one for each, or one for all")
    labels = [label_from_word(word, names) for word in words]
    return labels * n if len(labels) == 1 else labels


def parse_mask(mask: str, shape: ImageShape) -> Bool[Tensor, "h w"]:
    """True where images are generated anew. Raises ValueError for a mask that is True everywhere or nowhere."""
    _, h, w = shape
    if Path(mask).suffix:
        part = read_image(mask, (1, h, w))[0] > 127
    else:
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        centre = (y >= h // 4) & (y < h - h // 4) & (x >= w // 4) & (x < w - w // 4)
        parts = {"left": x < w // 2, "right": x >= w // 2, "top": y < h // 2, "bottom": y >= h // 2, "centre": centre}
        part = parts[match_choice("mask", mask, parts)]
    if part.all() or not part.any():
        raise ValueError(f"--mask {mask} is white {'everywhere' if part.all() else 'nowhere'}: expected some of both")
    return part
