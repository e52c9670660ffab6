"""CIFAR-10 as a folder or an archive of given files."""

import io
import tarfile
from pathlib import Path

from limpid.data import Cifar10
from limpid.data.images import ImageDataset

PICKLES, RECORDS = "cifar-10-batches-py", "cifar-10-batches-bin"


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """Writes a tar.gz of these members."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, blob in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(blob)
            tar.addfile(entry, io.BytesIO(blob))
    return path


def write(path: Path, blob: bytes) -> Path:
    """Writes a file and its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(blob)
    return path


def load(root: Path | None = None) -> ImageDataset:
    return Cifar10(split="test", root=str(root or "")).load()
