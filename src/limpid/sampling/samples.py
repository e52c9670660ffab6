"""Samples: generated images with their labels and seeds, to show, save and compute with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from limpid.storage.atomic import atomic_write
from limpid.viz.class_sheets import sheet_images, sheet_title
from limpid.viz.image_grid import image_grid, save_images, to_pil_images


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Image.Image]):
    """Generated images; `samples[3]` is a PIL image, `samples[:8]` are Samples again."""

    pixels: UInt8[Tensor, "n c h w"]
    labels: tuple[int, ...] | None
    """The class that each was conditioned on; None without labels."""
    seeds: tuple[int, ...]
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Image.Image | Samples":
        if isinstance(index, slice):
            labels = None if self.labels is None else self.labels[index]
            return Samples(self.pixels[index], labels, self.seeds[index], self.class_names)
        return to_pil_images(self.pixels[range(len(self))[index]][None])[0]

    def __iter__(self) -> Iterator[Image.Image]:
        return iter(to_pil_images(self.pixels))

    def grid(self, columns: int = 0) -> Image.Image:
        """The images on one sheet, a row for each class if all have equally many images; at most ten classes."""
        shown = sheet_images(self.labels or [0] * len(self))
        labels = [self.labels[i] for i in shown] if self.labels else []
        rows = () if columns else row_labels(labels, self.class_names)
        title = sheet_title(labels or shown, self.class_names, len(self))
        return image_grid(self.pixels[shown], columns=columns, row_labels=rows, title=title)

    def save(self, folder: Path | str) -> list[Path]:
        """Write each image as a PNG, named by its seed, into `folder`."""
        return save_images(self.pixels, Path(folder), [f"{seed:06d}" for seed in self.seeds])

    def to_npz(self, path: Path | str) -> Path:
        """Write `images` (n, h, w, c), `labels`, `class_names` and `seeds` as arrays; without labels they are empty."""
        arrays = {
            "images": np.asarray(self),
            "seeds": np.array(self.seeds),
            "labels": np.array(self.labels or [], dtype=np.int64),
            "class_names": np.array(self.class_names, dtype=np.str_),
        }
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)
        return Path(path)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """The pixels as (n, h, w, c), as other libraries lay images out."""
        array = self.pixels.permute(0, 2, 3, 1).numpy()
        return np.array(array, dtype=dtype, copy=copy)

    def _repr_png_(self) -> bytes:
        """The grid, for a notebook."""
        file = BytesIO()
        self.grid().save(file, format="PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        n, c, h, w = self.pixels.shape
        classes = f", of {len(set(self.labels))} classes" if self.labels else ""
        return f"Samples: {n} images of {c}x{h}x{w}{classes}"


def row_labels(labels: Sequence[int], class_names: Sequence[str]) -> list[str]:
    """The names of the rows of a grid with one class in each; none unless all classes have equally many images."""
    blocks = [(class_names[label], len(list(block))) for label, block in groupby(labels)]
    lengths = {length for _, length in blocks}
    return [name for name, _ in blocks] if len(lengths) == 1 and lengths != {1} else []
