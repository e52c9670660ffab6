"""Put the averaged network of a run where limpid finds it by name, in half precision.

    python benchmarks/ship.py runs/time-to-quality/limpid cifar10-small

`limpid sample cifar10-small` then draws from it on any machine, without a run.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from limpid.recipes.registry import find_recipe
from limpid.recipes.serialize import to_dict
from limpid.sampling.checkpoints import PRETRAINED_DIR, checkpoint_path, load_info
from limpid.storage import checkpoint

MOST = 16 * 2**20
"""Bytes that a network may add to the package."""


def main() -> None:
    """Write the file, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder or a checkpoint")
    parser.add_argument("name", help="what it will be asked for by: a recipe's name, whose sampling it takes")
    options = parser.parse_args()
    file = checkpoint_path(options.run)
    average = checkpoint.read_tensors(file, "ema.")
    tensors = {f"ema.{name}": weight.half() for name, weight in average.items()}
    about = load_info(file)
    here = replace(about.recipe.data, root="")  # no path of ours
    plain = replace(about, recipe=replace(about.recipe, data=here, sampling=find_recipe(options.name).sampling))
    written = checkpoint.save_checkpoint(PRETRAINED_DIR, about.images_seen, tensors, to_dict(plain), keep=0)
    shipped = written.rename(PRETRAINED_DIR / f"{options.name}.safetensors")
    size = shipped.stat().st_size
    if size > MOST:
        shipped.unlink()
        raise SystemExit(f"{size / 2**20:.1f} MB: more than the {MOST / 2**20:.0f} that a network may take")
    print(f"{shipped}: {size / 2**20:.1f} MB, after {about.images_seen:,} images")


if __name__ == "__main__":
    main()
