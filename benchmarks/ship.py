"""Save the EMA weights of a run in half precision among limpid's pretrained models.

    python benchmarks/ship.py runs/time-to-quality/limpid cifar10-small

`limpid sample cifar10-small` then samples from it on any machine, without the run folder.
"""

import argparse
from pathlib import Path

from limpid.recipes.registry import find_recipe
from limpid.sampling.checkpoints import PRETRAINED_DIR, find_checkpoint
from limpid.sampling.half_precision import save_half_precision

MAX_BYTES = 16 * 2**20
"""The largest file that a pretrained model may add to the package, in bytes."""


def main() -> None:
    """Write the file and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder or a checkpoint")
    parser.add_argument("name", help="the model's name: a recipe, whose sampling settings it gets")
    options = parser.parse_args()
    ref = find_checkpoint(options.run)
    shipped = PRETRAINED_DIR / f"{options.name}.safetensors"
    about = save_half_precision(ref, shipped, find_recipe(options.name).sampling)
    size = shipped.stat().st_size
    if size > MAX_BYTES:
        shipped.unlink()
        raise SystemExit(f"{size / 2**20:.1f} MB: more than the {MAX_BYTES / 2**20:.0f} that a network may take")
    print(f"{shipped}: {size / 2**20:.1f} MB, after {about.images_seen:,} images")


if __name__ == "__main__":
    main()
