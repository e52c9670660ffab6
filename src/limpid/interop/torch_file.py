"""Files of torch.save, read as tensors and plain data alone: no code in them is run."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limpid.storage.regular_files import require_regular


def read_torch_file(path: Path) -> dict[Any, Any]:
    """The table in a file of torch.save. Raises ValueError for one that holds anything but tensors and plain data."""
    require_regular(path)
    try:
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


def state_dict_from(table: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a table in float32, by their names without `prefix`. Raises ValueError for anything else."""
    if not isinstance(table, dict) or not all(isinstance(value, Tensor) for value in table.values()):
        raise ValueError("expected a table of tensors")
    return {
        str(name).removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in table.items()
    }
