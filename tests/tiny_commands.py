"""The options of a command that trains in a second, and the width of an image file."""

from pathlib import Path

from PIL import Image

TINY_OPTIONS = [
    *("--images", "32", "--batch-size", "16", "--data.size", "8"),
    *("--network.model-channels", "16", "--network.channel-mult", "1", "2", "--network.attn-resolutions", "4"),
    *("--sampling.schedule.sigma-min", "0.002", "--sampling.steps", "2", "--device", "cpu", "--precision", "float32"),
]


def width(path: Path) -> int:
    with Image.open(path) as image:
        return image.width
