"""The Frechet distances of samples to CIFAR-10's training images by both networks of outside_classifiers.py.

    limpid sample RUN --num-samples 5000 --npz
    python benchmarks/outside_scores.py RUN/drawn/samples.npz

The classifiers are of 32x32 images: samples of another size are resized first, bilinear and antialiased.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from outside_classifiers import distances

from limpid.data.images import resize

SIZE = 32
"""Height and width of the images that the classifiers were trained on."""


def main() -> None:
    """Score each file, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="+", type=Path, help="files that limpid sample --npz wrote")
    for path in parser.parse_args().samples:
        with np.load(path) as arrays:
            pixels = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)
        scores = ", ".join(f"{name} {value:.3f}" for name, value in distances(resize(pixels, SIZE)).items())
        print(f"{path}: {scores} (n = {len(pixels):,}, {pixels.shape[2]}x{pixels.shape[3]})", flush=True)


if __name__ == "__main__":
    main()
