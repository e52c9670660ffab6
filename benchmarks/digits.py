"""How often a drawn digit is the one that was asked for: its nearest neighbour among the real digits tells its class.

    python benchmarks/digits.py runs/demo [--n 500]

As a floor, every real digit is asked the same about its nearest neighbour among the others.
"""

import argparse

import torch

from limpid.runtime.device import Runtime
from limpid.sampling.labels import balanced_labels
from limpid.sampling.pipeline import load


def main() -> None:
    """Print the agreement of a run's digits, and of the real ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=500)
    options = parser.parse_args()
    runtime = Runtime().resolve().setup()
    pipeline = load(options.run, runtime=runtime)
    real = pipeline.recipe.data.open("cpu")
    asked = balanced_labels(options.n, len(pipeline.class_names))
    assert asked is not None, "the run knows no classes"
    pixels = pipeline.sample(options.n, batch_size=100).pixels

    images, labels = next(real.batches(0, len(real), 0))
    known = images.float().flatten(1)
    near = labels[torch.cdist(pixels.float().flatten(1), known).argmin(1)]
    among = torch.cdist(known, known).fill_diagonal_(torch.inf)
    print(f"{(near == torch.tensor(asked)).float().mean():.1%} of {options.n} drawn digits are of the class asked for")
    print(f"{(labels[among.argmin(1)] == labels).float().mean():.1%} of {len(known)} real digits, by their neighbours")


if __name__ == "__main__":
    main()
