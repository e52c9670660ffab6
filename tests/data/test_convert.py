"""What callers hold is trained on as it looks, or is refused in one line."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from limpid.data.images import ImageDataset, normalize
from limpid.data.stream import StreamingDataset

GREYS = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(4, 3, 16, 16).contiguous()
PIXELS = torch.randint(256, (8, 3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LAST = PIXELS.permute(0, 2, 3, 1).contiguous().numpy()
LABELS = [0, 1, 2, 0, 1, 2, 0, 1]
NAMES = ("a", "b", "c")

FORMS: dict[str, Any] = {
    "tensor": PIXELS,
    "tensors": list(PIXELS),
    "numpy, channels last": LAST,
    "numpy, channels first": PIXELS.numpy(),
    "numpy arrays": list(LAST),
    "PIL": [Image.fromarray(one) for one in LAST],
    "ToTensor": PIXELS.float() / 255,
    "ToTensor in double": PIXELS.double() / 255,
    "ToTensor and Normalize(0.5, 0.5)": (PIXELS.float() / 255 - 0.5) / 0.5,
    "float arrays": list(LAST.astype(np.float32) / 255),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_images(form: str):
    images = ImageDataset(FORMS[form], LABELS, NAMES)
    assert images.pixels.dtype == torch.uint8
    assert torch.equal(images.pixels, PIXELS)
    assert images.labels.tolist() == LABELS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("workers", [0, 2])
def test_every_form_streams_as_the_same_images(form: str, workers: int):
    if workers and form not in ("PIL", "ToTensor and Normalize(0.5, 0.5)"):
        return
    images = list(zip(FORMS[form], LABELS, strict=True))
    streamed = StreamingDataset(images, (3, 16, 12), NAMES, workers).batches(0, 8, seed=1)
    resident = ImageDataset(PIXELS, LABELS, NAMES).batches(0, 8, seed=1)
    for there, here in islice(zip(streamed, resident, strict=True), 3):
        assert all(torch.equal(a, b) for a, b in zip(there, here, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("low", [0, -1])
def test_every_grey_comes_back_from_floats(dtype: torch.dtype, low: int, capsys: pytest.CaptureFixture[str]):
    floats = (low + GREYS.double() * ((1 - low) / 255)).to(dtype)
    assert torch.equal(ImageDataset(floats, [0] * 4).pixels, GREYS)
    assert capsys.readouterr().err == f"images of floats from {low} to 1: taken as in [{low}, 1]\n"


def test_uint8_is_the_tensor_that_was_given_and_no_message_is_printed(capsys: pytest.CaptureFixture[str]):
    assert ImageDataset(PIXELS, LABELS).pixels is PIXELS
    assert capsys.readouterr().err == ""


def test_floats_are_no_pixels():
    with pytest.raises((ValueError, TypeError), match=r"expected uint8|normalize"):  # TypeError: types are checked
        normalize(PIXELS.float() / 255)


def test_grey_images_may_leave_out_their_channel():
    for images in (
        PIXELS[:, 0],
        PIXELS[:, 0].numpy(),
        list(PIXELS[:, 0]),
        [Image.fromarray(one[..., 0]) for one in LAST],
    ):
        assert torch.equal(ImageDataset(images, LABELS).pixels, PIXELS[:, :1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PIXELS.float(), r"floats from 0 to 255: expected all in \[0, 1\] or \[-1, 1\], or uint8"),
        (PIXELS.float() / 255 - 2, r"floats from -2 to -1: expected all in"),
        (torch.full((8, 3, 4, 4), torch.nan), "floats from nan to nan: expected all in"),
        (PIXELS.long(), "pixels are torch.int64: expected uint8, or floats"),
        (PIXELS > 9, "pixels are torch.bool: expected uint8, or floats"),
        (torch.from_numpy(LAST), r"shape 8 x 16 x 12 x 3: expected n x channels x height x width; .movedim\(-1, -3\)"),
        (PIXELS.flatten(1), "shape 8 x 576: expected n x channels x height x width"),
        (np.array([["a"]]), "pixels are <U1: expected uint8"),
        ([Image.fromarray(LAST[0]).convert("P")] * 8, "a PIL image of mode P: expected L, RGB, RGBA"),
        (
            [PIXELS[0], PIXELS[1, :, :8]],
            r"images of the shapes \(3, 16, 12\), \(3, 8, 12\): expected one shape for all",
        ),
        ([], "images of the shapes none"),
    ],
)
def test_what_cannot_be_images_is_refused_in_one_line(images: Any, message: str):
    with pytest.raises(ValueError, match=message) as error:
        ImageDataset(images, LABELS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2, 3, 1, 2, 3, 1, 2], "labels from 1 to 3: expected 0 to 2, for 3 classes"),
        ([-1, 2, 1, 1, 2, 0, 1, 2], "labels from -1 to 2: expected 0 to 2, for 3 classes"),
        (torch.zeros(8), "labels are torch.float32 of shape 8: expected a whole number for each image"),
        (torch.zeros(8, 1, dtype=torch.int64), "labels are torch.int64 of shape 8 x 1: expected a whole number"),
        ([0, 1], "8 images and 2 labels: expected at least one image, and a label for each"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: Any, message: str):
    with pytest.raises(ValueError, match=message):
        ImageDataset(PIXELS, labels, NAMES)


def first_batch(items: Sequence[Any], workers: int = 0) -> tuple[Tensor, Tensor]:
    return next(StreamingDataset(items, (3, 16, 12), NAMES, workers).batches(0, 8, seed=0))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"image": PIXELS[0], "label": 0}, "it is a dict of image, label: expected a pair, an image and its label"),
        ((PIXELS[0], 3), "its label is 3: expected 0 to 2, for 3 classes"),
        ((PIXELS[0], 0.5), "its label is a float: expected a whole number"),
        ((torch.from_numpy(LAST[0]), 0), "shape 16 x 12 x 3: expected channels x height x width; .movedim(-1, -3)"),
        ((PIXELS[0, :1], 0), "its shape is (1, 16, 12): expected (3, 16, 12)"),
        (("a.png", 0), "an image is a str: expected a tensor, a numpy array or a PIL image"),
        ((PIXELS[0].float(), 0), "floats from 0 to 255: expected all in [0, 1] or [-1, 1], or uint8"),
    ],
)
def test_an_item_of_a_stream_that_is_no_image_is_named_in_one_line(item: object, message: str, workers: int):
    if workers and isinstance(item, tuple):
        return
    with pytest.raises(ValueError, match=r"^image \d: " + re.escape(message)) as error:
        first_batch([item] * 8, workers)
    assert "\n" not in str(error.value)


def test_a_dark_image_among_signed_ones_is_scaled_as_they_are():
    floats = PIXELS.float() / 127.5 - 1
    floats[3] = 0.25
    pixels, _ = first_batch(list(zip(floats, LABELS, strict=True)))
    assert sorted(pixels.flatten(1).float().std(1).tolist())[0] == 0
    assert 159 in pixels.flatten(1)[:, 0]


def test_floats_outside_the_range_of_the_others_are_refused():
    items = [(PIXELS[i % 8].float() / 255, 0) for i in range(300)]
    stream = StreamingDataset(items, (3, 16, 12), NAMES)
    next(stream.batches(0, 8, seed=0))
    items[7] = (PIXELS[0].float() / 127.5 - 1, 0)
    with pytest.raises(
        ValueError, match=r"image 7: floats from -1 to 1: expected all in \[0, 1\], as others of the set"
    ):
        stream.converted[7]
