"""Checkpoints: one safetensors file each, tensors and plain data, that is whole or is not there.

It loads without executing code, and carries all that is needed to rebuild and go on.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

Plain = dict[str, Any]


def save(folder: Path, seen: int, tensors: Mapping[str, Tensor], data: Plain, keep: int = 2) -> Path:
    """Write the checkpoint after `seen` images; of all in the folder the last `keep` stay, 0 for every one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{seen:012d}.safetensors"
    part = path.with_suffix(".part")
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, part, metadata={"limpid": json.dumps(data)})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    for old in all_in(folder)[:-keep] if keep else []:
        old.unlink()
    return path


def all_in(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(folder.glob("[0-9]*.safetensors"))


def newest(folder: Path) -> Path | None:
    """The last checkpoint of a folder, if there is one."""
    return next(reversed(all_in(folder)), None)


def read_data(path: Path) -> Plain:
    """The plain data of a checkpoint, without its tensors. Raises ValueError if it is none of ours, or broken."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["limpid"])
    except (SafetensorError, KeyError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a whole checkpoint of limpid: {error}") from error


def read_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, which is taken off."""
    with safe_open(path, "pt") as file:
        return {name.removeprefix(prefix): file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's memory as named tensors: `3.exp_avg` belongs to the fourth parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, memory in state.items() for name, value in memory.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, each tensor in the memory layout of its parameter."""
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for address, value in tensors.items():
        index, name = address.split(".", 1)
        like = parameters[int(index)]
        laid_out = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
