"""Animations, read again, have every frame, with its duration."""

from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limpid.viz.animation import animate
from limpid.viz.image_grid import image_grid


def frames(n: int, channels: int = 3, side: int = 8) -> list[Image.Image]:
    """Sheets of four images of noise, each different from the one before."""
    frames_in = torch.randint(0, 256, (n, 4, channels, side, side), generator=torch.Generator().manual_seed(0))
    return [image_grid(pixels.to(torch.uint8), scale=2) for pixels in frames_in]


def reopened(path: Path) -> tuple[list[Image.Image], list[int], int]:
    """The frames of a file, the duration of each, and the number of loops (0: endless)."""
    images, durations = [], []
    with Image.open(path) as film:
        assert getattr(film, "is_animated", False)
        for k in range(getattr(film, "n_frames", 1)):
            film.seek(k)
            film.load()
            images.append(film.convert("RGB"))
            durations.append(int(film.info["duration"]))
        return images, durations, film.info["loop"]


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".WEBP"])
def test_every_frame_is_shown_for_its_time_and_the_animation_repeats(suffix: str, tmp_path: Path):
    frames_in = frames(6)
    path = animate(iter(frames_in), tmp_path / "new" / f"film{suffix}", milliseconds=40, hold=700)
    images, durations, loops = reopened(path)
    assert len(images) == 6
    assert durations == [40] * 5 + [700]
    assert loops == 0
    assert {image.size for image in images} == {frames_in[0].size}
    assert list(path.parent.iterdir()) == [path]


def test_webp_keeps_every_pixel(tmp_path: Path):
    frames_in = frames(4)
    images, _, _ = reopened(animate(frames_in, tmp_path / "film.webp"))
    for image, original in zip(images, frames_in, strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(original))


def test_gif_keeps_every_pixel_of_grey_images(tmp_path: Path):
    frames_in = frames(4, channels=1)
    images, _, _ = reopened(animate(frames_in, tmp_path / "film.gif"))
    for image, original in zip(images, frames_in, strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(original))


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_equal_frames_are_shown_for_the_sum_of_their_times(suffix: str, tmp_path: Path):
    first, second = frames(2)
    images, durations, _ = reopened(animate([first, first, first, second], tmp_path / f"film{suffix}", 50, 200))
    changes = list(accumulate(durations, initial=0))
    assert changes[-1] == 350
    assert 150 in changes
    np.testing.assert_array_equal(np.asarray(images[-1]), np.asarray(reopened_alone(second, tmp_path, suffix)))


def reopened_alone(frame: Image.Image, folder: Path, suffix: str) -> Image.Image:
    """A single frame as the format keeps it."""
    with Image.open(animate([frame], folder / f"alone{suffix}")) as back:
        return back.convert("RGB")


def test_an_animation_of_one_frame_is_an_image(tmp_path: Path):
    (frame,) = frames(1)
    np.testing.assert_array_equal(np.asarray(reopened_alone(frame, tmp_path, ".webp")), np.asarray(frame))


@pytest.mark.parametrize(
    ("frames_in", "name", "message"),
    [
        (frames(2), "film.mp4", "no animation is written as 'film.mp4': choose from .webp, .gif"),
        (frames(2), "film", "no animation is written as 'film'"),
        ([], "film.webp", r"sizes \[\] were given: expected one or more"),
        (frames(1) + frames(1, side=9), "film.gif", r"sizes \[\(38, 38\), \(42, 42\)\]"),
    ],
)
def test_invalid_animations_are_refused(frames_in: list[Image.Image], name: str, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        animate(frames_in, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_animation_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path):
    path = animate(frames(2), tmp_path / "film.webp")
    before = path.read_bytes()
    too_wide = Image.new("RGB", (16_384, 1))  # WebP ends at 16,383
    with pytest.raises(RuntimeError, match="WebP"):
        animate([too_wide, too_wide], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
