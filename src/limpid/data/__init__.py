"""Data sets, and the batches that a run trains on."""

from typing import TypeAlias

from limpid.data.cifar10 import Cifar10
from limpid.data.digits import Digits
from limpid.data.fingerprint import Fingerprint
from limpid.data.folder import Folder
from limpid.data.in_memory import InMemory, images_from_python
from limpid.data.stream import DataSource

Data: TypeAlias = Cifar10 | Digits | Folder | InMemory

__all__ = ["Cifar10", "Data", "DataSource", "Digits", "Fingerprint", "Folder", "InMemory", "images_from_python"]
