"""Files of torch.save, read as tensors and plain data alone: no code in them is run."""

import io
import math
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limpid.data.readers.safe_pickle import refuse_bombs
from limpid.storage.regular_files import require_regular

MAX_TUPLES = 200_000
"""Limit of the tuples in a file: a tensor has five."""
OLD_PICKLES = 5
"""Pickles in a file of torch before 1.6: two numbers, the system, the content and the names of the storages."""


def read_torch_file(path: Path) -> dict[Any, Any]:
    """The table in a file of torch.save. Raises ValueError for one that holds anything but tensors and plain data."""
    require_regular(path)
    try:
        with path.open("rb") as file:
            refuse_torch_bombs(file, path.stat().st_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a broken file may be of any version
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile file can raise anything
        if isinstance(error, MemoryError):
            raise
        reason = "it is broken, or holds more than tensors and plain data, which could run code"
        raise ValueError(f"cannot read {path}: {reason} ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}: expected a table of tensors")
    return content


def refuse_torch_bombs(file: io.BufferedIOBase, size: int) -> None:
    """Raise an error for what torch.save has not written: of `size` bytes, it would take far more memory or time."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        for _ in range(OLD_PICKLES):
            refuse_bombs(file, MAX_TUPLES)
        return
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > size:
            raise ValueError("it is compressed, which torch.save does not do")
        for name in archive.namelist():
            if name.endswith(".pkl"):
                refuse_bombs(archive.read(name), MAX_TUPLES)


def state_dict_from(table: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a table in float32, by their names without `prefix`. Raises ValueError for anything else."""
    if not isinstance(table, dict) or not all(isinstance(value, Tensor) for value in table.values()):
        raise ValueError("expected a table of tensors")
    if names := [name for name in table if not isinstance(name, str)]:
        raise ValueError(f"a {type(names[0]).__name__} in place of the name of a tensor")
    _refuse_expanded(table.values())
    return {
        name.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in table.items()
    }


def _refuse_expanded(tensors: Iterable[Tensor]) -> None:
    """Raise ValueError for tensors that hold more values than are stored: copies of them would fill the memory."""
    used, stored = Counter[int](), dict[int, int]()
    for tensor in tensors:
        storage = tensor.untyped_storage()
        used[storage.data_ptr()] += tensor.nbytes
        stored[storage.data_ptr()] = storage.nbytes()
        if used[storage.data_ptr()] > stored[storage.data_ptr()]:
            values = f"a tensor of {math.prod(tensor.shape):.0e} values"
            raise ValueError(f"{values} of which fewer are stored, or which it shares with another tensor")
