"""Scores of real images, untouched and corrupted a little: the scale on which scores are to be read.

    python benchmarks/held_out_scores.py [--n 10000] [--out docs/floors]

Writes OUT.json, OUT.md and OUT.png: the test set of CIFAR-10 against its training set, halves of the training set
against each other, and the test set blurred, compressed as JPEG, with noise, and with one class too frequent. Where the
outside classifiers are at ../shared/classifier, their Frechet distances are added.
"""

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import outside_classifiers
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from limpid.data import Cifar10
from limpid.data.images import ImageDataset
from limpid.evaluation.reference import reference_from_dataset, reference_from_images
from limpid.evaluation.report import Score, format_number
from limpid.evaluation.scores import feature_extractor, scores_of
from limpid.metrics.extractors.base import FeatureExtractor, Features, extract_features
from limpid.metrics.frechet import frechet
from limpid.metrics.moments import Moments, Statistics
from limpid.runtime.rng import generator
from limpid.viz.image_grid import save_png, strip

Pixels = UInt8[Tensor, "n 3 32 32"]


def blur(pixels: Pixels, share: float) -> Pixels:
    """The image mixed with its 3x3 mean."""
    x = pixels.float()
    return (x + share * (F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "reflect"), 3, 1) - x)).round().to(torch.uint8)


def noisy(pixels: Pixels, sigma: float) -> Pixels:
    """Normal noise of sigma, in units of 1 of 255."""
    eps = torch.randn(pixels.shape, generator=generator("cpu", "floors"))
    return (pixels + sigma * eps).round().clip(0, 255).to(torch.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Compressed as JPEG by Pillow, and decoded."""
    out = []
    for image in pixels.permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


def imbalance(test: ImageDataset, share: float) -> Pixels:
    """The images with this share of them replaced by images of the first class, sampled with replacement."""
    first_class = test.pixels[test.labels == 0]
    others = torch.nonzero(test.labels != 0)[:, 0]
    rng = generator("cpu", "imbalance")
    out, replaced = test.pixels.clone(), others[torch.randperm(len(others), generator=rng)[: round(share * len(test))]]
    out[replaced] = first_class[torch.randint(len(first_class), (len(replaced),), generator=rng)]
    return out


CORRUPTIONS: dict[str, Callable[[ImageDataset], Pixels]] = {
    "test set": lambda test: test.pixels,
    "5% of it more airplanes": lambda test: imbalance(test, 0.05),
    "JPEG 95": lambda test: jpeg(test.pixels, 95),
    "JPEG 75": lambda test: jpeg(test.pixels, 75),
    "noise of 2/255": lambda test: noisy(test.pixels, 2),
    "noise of 8/255": lambda test: noisy(test.pixels, 8),
    "a quarter blurred": lambda test: blur(test.pixels, 0.25),
    "3x3 blurred": lambda test: blur(test.pixels, 1.0),
}


def main() -> None:
    """Score everything, and write the table and the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("docs/floors"))
    options = parser.parse_args()
    extractor, train, test = feature_extractor("cifar"), Cifar10(), Cifar10(split="test").load()
    reference, test = (
        reference_from_dataset(train, extractor),
        ImageDataset(test.pixels[: options.n], test.labels[: options.n], test.class_names),
    )
    assert reference.images is not None
    assert reference.features is not None
    extractors = outside_classifiers.classifiers()
    outside = {name: statistics(one, reference.images.pixels) for name, one in extractors.items()}

    scores: dict[str, dict[str, Score]] = {}
    order = torch.randperm(len(reference.images), generator=generator("cpu", "halves"))
    first, second = (rows.sort().values for rows in order.chunk(2))
    halves = reference_from_images(
        ImageDataset(reference.images.pixels[second], reference.images.labels[second]),
        "half of the training set",
        extractor,
    )
    first_features = Features(*(rows[first[: options.n]] for rows in reference.features))
    scores["training set, half against half"] = scores_of(first_features, halves, extractor)
    for name, corrupt in CORRUPTIONS.items():
        pixels = corrupt(test)
        found = extract_features(extractor, pixels)
        scores[name] = scores_of(Features(found["features"], found["logits"]), reference, extractor)
        for other, real in outside.items():
            scores[name][f"FD {other}"] = Score(frechet(statistics(extractors[other], pixels), real))
        print(name, {key: format_number(score.value) for key, score in scores[name].items()}, flush=True)
    write(scores, test, options.out)


def statistics(extractor: FeatureExtractor, pixels: Pixels) -> Statistics:
    """Mean and covariance of a classifier's features of images."""
    return Moments.of(extract_features(extractor, pixels)["features"]).statistics


def write(scores: dict[str, dict[str, Score]], test: ImageDataset, out: Path) -> None:
    """The scores as JSON and as a table, and what the corrupted images look like."""
    out.parent.mkdir(parents=True, exist_ok=True)
    plain = {
        row: {name: {"value": score.value, "error": score.error} for name, score in found.items()}
        for row, found in scores.items()
    }
    out.with_suffix(".json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    columns = list(dict.fromkeys(name for found in scores.values() for name in found))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row, found in scores.items():
        lines.append(f"| {row} | " + " | ".join(cell(found.get(name)) for name in columns) + " |")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    few = torch.stack([corrupt(test)[:10] for corrupt in CORRUPTIONS.values()])
    save_png(strip(few, list(CORRUPTIONS), ()), out.with_suffix(".png"))


def cell(score: Score | None) -> str:
    """A score in a cell of the table."""
    if score is None:
        return ""
    return f"{format_number(score.value)} ± {score.error:.2g}" if score.error else format_number(score.value)


if __name__ == "__main__":
    main()
