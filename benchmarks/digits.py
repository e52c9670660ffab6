"""How often a sampled digit is of the class it was conditioned on, by its nearest neighbour among the real digits.

    python benchmarks/digits.py runs/demo [--n 500]

The class of a digit is predicted to be that of its nearest neighbour in pixels. For comparison, the same is measured
for every real digit and its nearest neighbour among the others.
"""

import argparse

import torch

from limpid.runtime.device import Runtime
from limpid.sampling.labels import balanced_labels
from limpid.sampling.pipeline import load


def main() -> None:
    """Print the accuracy of this prediction for a run's digits, and for the real ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=500)
    options = parser.parse_args()
    runtime = Runtime().resolve().setup()
    pipeline = load(options.run, runtime=runtime)
    real = pipeline.recipe.data.open("cpu")
    classes = balanced_labels(options.n, len(pipeline.class_names))
    assert classes is not None, "the run is not class-conditional"
    pixels = pipeline.sample(options.n, batch_size=100).pixels

    images, labels = next(real.batches(0, len(real), 0))
    real_pixels = images.float().flatten(1)
    predicted = labels[torch.cdist(pixels.float().flatten(1), real_pixels).argmin(1)]
    between_real = torch.cdist(real_pixels, real_pixels).fill_diagonal_(torch.inf)
    print(f"{(predicted == torch.tensor(classes)).float().mean():.1%} of {options.n} samples have their given class")
    print(f"{(labels[between_real.argmin(1)] == labels).float().mean():.1%} of {len(images)} real digits do")


if __name__ == "__main__":
    main()
