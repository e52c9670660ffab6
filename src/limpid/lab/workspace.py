"""What the page may see of this machine: the runs and the images that were named when the lab was started."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folders of a lab; nothing else is read for the page but what comes with limpid, and CIFAR-10."""

    runs: tuple[Path, ...] = ()
    """Run folders, folders of runs, and checkpoints."""
    images: tuple[Path, ...] = ()
    """Folders, .zip and .npz files of images."""
