"""Conversion of images (tensors, numpy arrays, PIL images) to uint8 pixels, and of labels to class indices.

uint8 stays as it is; floats are scaled from the range that they are in: [0, 1], as of ToTensor, or [-1, 1].
"""

import operator
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info

from limpid.runtime.terminal import echo

ImageLike: TypeAlias = Tensor | np.ndarray | Image.Image
"""A tensor of channels x height x width, or of height x width; a numpy array with channels last or first; or PIL's."""
ImagesLike: TypeAlias = Tensor | np.ndarray | Sequence[ImageLike]
LabelsLike: TypeAlias = Tensor | np.ndarray | Sequence[int]

RANGE_TOLERANCE = 1e-6
"""Tolerance for floats outside of their range, from rounding."""
PIL_MODES = ("L", "RGB", "RGBA")
CONVERT_BATCH = 1000
"""Number of images that are converted at a time, to bound memory."""


def pixels_from_images(images: ImagesLike) -> UInt8[Tensor, "n c h w"]:
    """All images of a set as uint8. Raises ValueError, in one line, for input that cannot be images."""
    if isinstance(images, Tensor | np.ndarray):
        planes = planes_from(images, 4)
    else:
        planes_of_each = [planes_from(image, 3) for image in images]
        if len(shapes := sorted({str(tuple(one.shape)) for one in planes_of_each})) != 1:
            raise ValueError(f"images of the shapes {', '.join(shapes[:5]) or 'none'}: expected one shape for all")
        planes = torch.stack(planes_of_each)
    if planes.dtype == torch.uint8:
        return planes
    low = lower_bound([planes])
    pixels = torch.empty_like(planes, dtype=torch.uint8)
    for part, target in zip(planes.split(CONVERT_BATCH), pixels.split(CONVERT_BATCH), strict=True):
        target.copy_(pixels_from_floats(part, low))
    return pixels


def planes_from(image: object, dimensions: int) -> Tensor:
    """An image (3 dimensions) or several (4) as a tensor with channels before height and width, its values unchanged.

    Raises ValueError for other types, another number of dimensions, and tensors with channels last.
    """
    if isinstance(image, Image.Image):
        if image.mode not in PIL_MODES:
            raise ValueError(
                f"a PIL image of mode {image.mode}: expected {', '.join(PIL_MODES)}; .convert() makes them"
            )
        image = np.asarray(image)
    if isinstance(image, np.ndarray):
        image = _planes_from_array(image, dimensions)
    if not isinstance(image, Tensor):
        raise ValueError(f"an image is a {type(image).__name__}: expected a tensor, a numpy array or a PIL image")
    planes = image.unsqueeze(-3) if image.ndim == dimensions - 1 else image
    expected = f"expected {'n x ' if dimensions == 4 else ''}channels x height x width"
    if planes.ndim != dimensions:
        raise ValueError(f"shape {_shape(planes)}: {expected}")
    if planes.shape[-3] > 4 >= planes.shape[-1]:
        raise ValueError(f"shape {_shape(planes)}: {expected}; .movedim(-1, -3) brings channels forward")
    if planes.dtype != torch.uint8 and not planes.is_floating_point():
        raise ValueError(f"pixels are {planes.dtype}: expected uint8, or floats in [0, 1] or [-1, 1]")
    return planes


def lower_bound(images: Iterable[Tensor]) -> float:
    """The lower end, 0 or -1, of the range of these float images, whose upper end is 1; a note of it is printed.

    Raises ValueError if they are in neither range.
    """
    ends = torch.tensor([[one.min().item(), one.max().item()] for one in images])
    least, most = ends.min().item(), ends.max().item()
    low = next((low for low in (0.0, -1.0) if low - RANGE_TOLERANCE <= least and most <= 1 + RANGE_TOLERANCE), None)
    if low is None:
        raise ValueError(f"floats from {least:g} to {most:g}: expected all in [0, 1] or [-1, 1], or uint8")
    worker = get_worker_info()
    if worker is None or worker.id == 0:  # every worker finds the same range
        echo(f"images of floats from {least:g} to {most:g}: taken as in [{low:g}, 1]", to_stderr=True)
    return low


def pixels_from_floats(planes: Tensor, low: float) -> UInt8[Tensor, "*shape"]:
    """Floats in [low, 1] as the nearest pixels 0..255. Raises ValueError for floats outside of it."""
    floats = planes if planes.dtype == torch.float64 else planes.float()
    least, most = floats.min().item(), floats.max().item()
    if not (low - RANGE_TOLERANCE <= least and most <= 1 + RANGE_TOLERANCE):
        raise ValueError(f"floats from {least:g} to {most:g}: expected all in [{low:g}, 1], as others of the set")
    return ((floats - low) * (255 / (1 - low))).round().clamp(0, 255).to(torch.uint8)


def labels_from(labels: LabelsLike, classes: int) -> Int[Tensor, " n"]:
    """Labels as class indices. Raises ValueError for others; with 0 classes their range is not checked."""
    try:
        numbers = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError("labels are no numbers: expected a whole number for each image") from error
    if numbers.ndim != 1 or numbers.is_floating_point() or numbers.dtype == torch.bool:
        given = f"labels are {numbers.dtype} of shape {_shape(numbers)}"
        raise ValueError(f"{given}: expected a whole number for each image")
    if classes and len(numbers) and not numbers.is_meta:
        least, most = numbers.min().item(), numbers.max().item()
        if not (least >= 0 and most < classes):
            raise ValueError(f"labels from {least} to {most}: expected 0 to {classes - 1}, for {classes} classes")
    return numbers.long()


def label_from(label: object, classes: int) -> int:
    """A label as a class index. Raises ValueError for others; with 0 classes its range is not checked."""
    try:
        number = operator.index(label)  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        raise ValueError(f"its label is a {type(label).__name__}: expected a whole number") from error
    if classes and not 0 <= number < classes:
        raise ValueError(f"its label is {number}: expected 0 to {classes - 1}, for {classes} classes")
    return number


def _planes_from_array(array: np.ndarray, dimensions: int) -> Tensor:
    """A numpy array as a tensor, its channels moved first if they come last, as they do in most arrays."""
    try:
        planes = torch.from_numpy(np.array(array) if not array.flags.writeable else array)
    except (TypeError, ValueError) as error:
        raise ValueError(f"pixels are {array.dtype}: expected uint8, or floats in [0, 1] or [-1, 1]") from error
    last = array.ndim == dimensions and array.shape[-1] in (1, 2, 3, 4)
    return planes.movedim(-1, -3) if last else planes


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "()"
