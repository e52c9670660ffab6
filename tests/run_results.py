"""What a run left in its folder, for the comparison with another run."""

from pathlib import Path
from typing import Any

import torch

from limpid.storage import checkpoint, jsonl


def newest_checkpoint(folder: Path) -> Path:
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    return file


def final_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of the newest checkpoint."""
    return checkpoint.read_tensors(newest_checkpoint(folder))


def final_data(folder: Path) -> checkpoint.Plain:
    """The metadata of the newest checkpoint."""
    return checkpoint.read_data(newest_checkpoint(folder))


def checkpoint_images(folder: Path) -> list[int]:
    """The number of images seen at each checkpoint."""
    return [int(file.stem) for file in checkpoint.list_checkpoints(folder / "checkpoints")]


def equal_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether both have the same names and the same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same_weights(one: Path, other: Path) -> bool:
    """Whether the newest checkpoints of two runs have the same tensors, to the bit."""
    return equal_tensors(final_tensors(one), final_tensors(other))


def log_without_speed(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log without the speed, which differs from run to run."""
    lines = jsonl.read_jsonl(folder / "log.jsonl")
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def same_run(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same bits, and with the same log but for the speed."""
    return same_weights(one, other) and log_without_speed(one) == log_without_speed(other)


def files_of_run(folder: Path) -> dict[str, object]:
    """The content of every file of a run by its name, but for speeds and the environment; tensors one by one."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    assert not [name for name in files if name.suffix in (".part", ".broken")]
    content: dict[str, object] = {}
    for name, path in files.items():
        if path.suffix == ".safetensors":
            content[f"{name}"] = checkpoint.read_data(path)
            content |= {f"{name}:{key}": value for key, value in checkpoint.read_tensors(path).items()}
        elif path.suffix == ".jsonl":
            lines = jsonl.read_jsonl(path)
            assert path.read_bytes().count(b"\n") == len(lines)
            content[f"{name}"] = [line | {"images_per_second": None} for line in lines]
        elif path.name != "environment.json":
            content[f"{name}"] = path.read_bytes()
    return content


def equal_content(one: object, other: object) -> bool:
    """Whether two values of `files_of_run` are the same."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one == other
