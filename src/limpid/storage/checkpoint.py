"""Checkpoints: one safetensors file each, with tensors and plain data, written atomically.

It loads without executing code, and holds all that is needed to rebuild the model and to resume, and its own checksum.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from limpid.runtime.log import logger
from limpid.storage.atomic import durable_write
from limpid.storage.renamed import tensor_name, with_new_names

Plain = dict[str, Any]
DTYPE_NAMES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"},
}
"""The names of dtypes in safetensors."""
MARK, BLANK = b'"sha256":"', b"0" * 64
"""The text before the checksum in a file, and the placeholder while the checksum is computed. The mark cannot occur in
the plain data, since JSON in JSON has its quotes escaped."""
MAX_HEADER_BYTES = 1 << 24
"""Limit of the size of a header, in bytes."""


class Broken(ValueError):
    """A file that is not a checkpoint of limpid, or was changed since it was written."""


class Foreign(ValueError):
    """A valid checkpoint in the wrong folder, or under the wrong name."""


def save_checkpoint(
    folder: Path, seen: int, tensors: Mapping[str, Tensor], data: Plain, keep: int = 2, milestone: int = 0
) -> Path:
    """Write the checkpoint after `seen` images, and remove all but the last `keep`, counting this one.

    With `keep` 0 none is removed; with a `milestone` the first one at or after each multiple of that many images is not
    removed. Raises OSError if writing fails, and leaves no partial file.
    """
    path = write_checkpoint(folder / file_name(seen), tensors, data)
    files = list_checkpoints(folder)
    others = [file for file in files if file != path]
    for old in others[: max(0, len(others) - keep + 1)] if keep else []:
        if old not in milestones(files, milestone):
            _remove(old)
    return path


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], data: Plain) -> Path:
    """Write one checkpoint, to a file of any name. Raises OSError if writing fails, and leaves no partial file."""
    with durable_write(path) as part:
        _write(part, tensors, data)
    return path


def file_name(seen: int) -> str:
    """The file name of the checkpoint after `seen` images."""
    return f"{seen:012d}.safetensors"


def _remove(old: Path) -> None:
    """Remove an old checkpoint; if it cannot be removed, warn."""
    try:
        old.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(f"cannot remove {old} ({error.strerror}): this does no harm to the run")


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted((path for path in folder.glob("*.safetensors") if path.stem.isdecimal()), key=lambda p: int(p.stem))


def milestones(files: list[Path], every: int) -> set[Path]:
    """The first checkpoint at or after each multiple of `every` images, of `files` sorted by images; none if 0."""
    reached = {int(file.stem) // every: file for file in reversed(files)} if every else {}
    return {file for multiple, file in reached.items() if multiple > 0}


def latest(folder: Path, check: Callable[[Path], None] = lambda file: None) -> Path | None:
    """The last valid checkpoint of a folder, None if the folder has no checkpoints.

    `check` raises Foreign for a checkpoint to skip. Each newer one that is invalid or skipped causes a warning. Raises
    ValueError if all are invalid, or all but the initial one, which holds no progress; OSError if one cannot be read,
    since it may be valid.
    """
    faults: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            verify(path)
            check_name(path)
            check(path)
        except (Broken, Foreign) as error:
            faults.append(str(error))
            continue
        except FileNotFoundError:  # removed by a run that is training in this folder
            continue
        if faults and int(path.stem) == 0:
            break
        for fault in faults:
            logger.warning(f"{fault}; taking an older one")
        return path
    if faults:
        raise ValueError(f"{faults[0]}; there is no older one to resume from: move them away to start anew")
    return None


def set_aside(folder: Path, chosen: Path) -> None:
    """Rename the checkpoints newer than `chosen`, which were skipped, so that they are no longer found."""
    for file in list_checkpoints(folder):
        if int(file.stem) > int(chosen.stem):
            try:
                verify(file)
                file.rename(file.with_suffix(".aside"))
            except Broken:
                file.rename(file.with_suffix(".broken"))


def verify(path: Path) -> None:
    """Raise Broken if a file is no checkpoint of limpid, or was changed; OSError if it cannot be read."""
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        _verify(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot read {path}, which may be intact ({error.strerror}): nothing was changed, try again later",
        ) from error
    except ValueError as error:
        raise Broken(f"{_broken(path)}: {error}") from error


def check_name(path: Path) -> None:
    """Raise Foreign if a checkpoint's file name has another number of images than its data."""
    seen = read_data(path).get("images_seen", int(path.stem))
    if seen != int(path.stem):
        raise Foreign(f"{path} was renamed: it was saved after {seen} images")


def read_data(path: Path) -> Plain:
    """The plain data of a checkpoint, without its tensors. Raises as `read_header` does."""
    return read_header(path)[0]


def read_header(path: Path) -> tuple[Plain, str]:
    """The plain data of a checkpoint, and the checksum of all its bytes.

    Raises ValueError if it is no checkpoint of limpid, or broken; OSError if it cannot be read.
    """
    verify(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            data, checksum = json.loads(metadata["limpid"]), metadata["sha256"]
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{_broken(path)}: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{_broken(path)}: its data are {type(data).__name__}, expected a table")
    return with_new_names("CheckpointInfo", data), checksum


def read_tensors(path: Path, prefix: str = "", checksum: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, by their names without it.

    Raises as `read_header` does, and Foreign if a `checksum` is given and is not the file's.
    """
    verify(path)
    try:
        with safe_open(path, "pt") as file:
            if checksum and (file.metadata() or {}).get("sha256") != checksum:
                raise Foreign(f"{path} has changed, since its run is still training: repeat the command")
            names = {tensor_name(name): name for name in file.keys()}  # noqa: SIM118
            return {now.removeprefix(prefix): file.get_tensor(n) for now, n in names.items() if now.startswith(prefix)}
    except SafetensorError as error:
        raise ValueError(f"{_broken(path)}: {error}") from error


def check_matches(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError unless the tensors of a file have the names and shapes of those they are loaded into."""
    wrong = [name for name in like if name not in tensors or tensors[name].shape != like[name].shape]
    if wrong := wrong + [name for name in tensors if name not in like]:
        what = f"{len(wrong)} of its tensors are not those of its recipe, such as {wrong[0][:80]!r}"
        raise ValueError(f"{path} does not fit: {what}")


def _write(path: Path, tensors: Mapping[str, Tensor], data: Plain) -> None:
    """Write a safetensors file one tensor at a time, then its checksum over the placeholder.

    The library's own writer may need memory for a second copy of all tensors, and leaves another temporary file behind
    when it is killed.
    """
    # Widest dtype first, so that each tensor is aligned; then by name, so that equal tensors make equal files.
    wide_first = dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))
    header: Plain = {"__metadata__": {"limpid": json.dumps(data), "sha256": BLANK.decode()}}
    end = 0
    for name, tensor in wide_first.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    digest = sha256(head)
    with path.open("wb") as file:
        file.write(head)
        for tensor in wide_first.values():
            content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            digest.update(content)
            file.write(content)
        file.seek(head.index(MARK) + len(MARK))
        file.write(digest.hexdigest().encode())


@lru_cache(maxsize=64)
def _verify(path: Path, inode: int, size: int, changed: int) -> None:
    """Raise ValueError if a file's checksum is not the one it states; computed once while the file is unchanged."""
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError("it does not begin like a safetensors file")
        text = bytearray(file.read(length))
        at = text.find(MARK) + len(MARK)
        if at < len(MARK):
            raise ValueError("it has no checksum")
        stated = bytes(text[at : at + len(BLANK)])
        text[at : at + len(BLANK)] = BLANK
        digest = sha256(head + text)
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if stated != digest.hexdigest().encode():
        raise ValueError("its checksum differs, so it was cut short or changed")


def _broken(path: Path) -> str:
    return f"{path} is not an intact checkpoint of limpid"
