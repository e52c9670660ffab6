"""What the page may see of this machine: the runs and the images that were named when the lab was started."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_RUNS = Path("runs")
"""Where runs are if no folder is named."""
DEPTH = 2
"""Folders below a named one in which runs are searched for."""


@dataclass(frozen=True)
class Workspace:
    """The folders of a lab; nothing else is read for the page but what comes with limpid, and CIFAR-10."""

    runs: tuple[Path, ...] = ()
    """Run folders, folders of runs, and checkpoints."""
    images: tuple[Path, ...] = ()
    """Folders, .zip and .npz files of images."""
    new_runs: Path = DEFAULT_RUNS
    """The folder for runs that the page starts; what is in it is shown too."""

    @property
    def run_paths(self) -> tuple[Path, ...]:
        """The folders that are searched for runs."""
        return tuple(dict.fromkeys((*self.runs, self.new_runs)))


def inside(path: Path, folder: Path) -> bool:
    """Whether a path is in a folder, also where it is a link."""
    return path.resolve().is_relative_to(folder.resolve())
