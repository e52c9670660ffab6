"""Pickles of NVIDIA's programs, such as EDM, whose modules carry their own source code: they are read, no code is run.

Such a module is pickled as the argument of one function, which executes the code; here the argument is recorded
(`Record`) and the code is left alone. A pickle that names any function or class but those of `_ADMITTED` is refused.
"""

import io
import math
import mmap
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limpid.data.readers.safe_pickle import ADMITTED, Record, refuse_bombs
from limpid.interop.torch_file import refuse_torch_bombs
from limpid.storage.regular_files import require_regular

PERSISTENCE = b"torch_utils.persistence"
"""The module of the function that would execute the code; its name is in the first lines of such a file."""
_LONGEST_NAME = 100


class _Table(dict):
    """A dict of any class."""

    def __setstate__(self, state: object) -> None:
        """Attributes beside the items are ignored."""


@dataclass(frozen=True, slots=True)
class _Function:
    """A function that a pickle can call but, unlike a plain one, not change: a pickle may set any attribute."""

    call: Callable[..., object]

    def __call__(self, *arguments: object) -> object:
        return self.call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it would change a function")


def _storage(content: bytes) -> torch.TypedStorage:
    refuse_torch_bombs(io.BytesIO(content), len(content))
    storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.TypedStorage):
        raise pickle.UnpicklingError(f"a {type(storage).__name__} in place of a tensor's values")
    return storage


@_Function
def _tensor(storage: torch.TypedStorage, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    if not all(isinstance(edge, int) for edge in size):  # the product of other values, such as bytes, may be huge
        raise pickle.UnpicklingError("a tensor whose shape is not of whole numbers")
    values = torch.empty(0, dtype=storage.dtype).set_(storage.untyped())
    if math.prod(size) > len(values):
        raise pickle.UnpicklingError(f"a tensor of {math.prod(size):.0e} values from {len(values)}")
    return values.as_strided(size, stride, offset)


@_Function
def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


_ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    **dict.fromkeys(ADMITTED, Record),
    **{(f"numpy.{core}.multiarray", "scalar"): Record for core in ("core", "_core")},
    (PERSISTENCE.decode(), "_reconstruct_persistent_obj"): Record,
    **{("torch.nn.modules.container", name): Record for name in ("ModuleDict", "ModuleList", "Sequential")},
    ("collections", "OrderedDict"): _Table,
    ("dnnlib.util", "EasyDict"): _Table,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
"""What stands for each function and class that a pickle may name, but for storages; none of those is called."""
_STORAGE = ("torch.storage", "_load_from_bytes")


class _Reader(pickle.Unpickler):
    def __init__(self, content: mmap.mmap) -> None:
        super().__init__(content)
        self._unread = len(content)

    def find_class(self, module: str, name: str, /) -> Callable[..., object]:
        if (module, name) == _STORAGE:
            return _Function(self._storage)
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'[:80]!r}")
        return _ADMITTED[module, name]

    def _storage(self, content: bytes) -> torch.TypedStorage:
        self._unread -= len(content)
        if self._unread < 0:  # a pickle can have the same bytes read again and again
            raise pickle.UnpicklingError("it has more values read than it holds")
        return _storage(content)


def is_persistent_pickle(path: Path) -> bool:
    """Whether a file is a pickle of such modules, as far as its first bytes tell."""
    require_regular(path)
    with path.open("rb") as file:
        start = file.read(4096)
    return start.startswith(b"\x80") and PERSISTENCE in start


def read_persistent_pickle(path: Path) -> dict[str, Any]:
    """The table in such a file, its modules as records. Raises ValueError if it is broken or names other functions."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            refuse_bombs(content)
            content.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's on typed storages, of which these files are made
                table = _Reader(content).load()
    except Exception as error:  # a hostile file can raise anything
        if isinstance(error, MemoryError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"it is broken, or holds more than tensors and plain data ({reason})") from error
    if not isinstance(table, dict):
        raise ValueError(f"it holds a {type(table).__name__}: expected a table")
    return table


def class_and_state(module: object) -> tuple[str, Mapping[str, Any]]:
    """The name of a recorded module's class, empty for a container, and its attributes."""
    if not isinstance(module, Record):
        raise ValueError(f"a {type(module).__name__} in place of a module")
    if not module.arguments:
        return "", module.state
    (content,) = module.arguments
    name = content["class_name"]
    if not isinstance(name, str):
        raise ValueError(f"a {type(name).__name__} in place of the name of a class")
    return name[:80], content["state"]


def module_tensors(module: object) -> dict[str, Tensor]:
    """The parameters and buffers of a recorded module and the modules in it, by their names in its state_dict."""
    found, seen = dict[str, Tensor](), set[int]()

    def below(prefix: str, name: object) -> str:
        # The text of nested tuples that hold the next one twice, or of nested long names, would fill the memory.
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise ValueError(f"one of its modules has a name that is no text of at most {_LONGEST_NAME} letters")
        return f"{prefix}{name}"

    def visit(module: object, prefix: str) -> None:
        if id(module) in seen:  # each of n nested modules that holds the next one twice would take 2^n visits
            raise ValueError("one of its modules occurs twice")
        seen.add(id(module))
        _, state = class_and_state(module)
        for name, tensor in (*state["_parameters"].items(), *state["_buffers"].items()):
            if isinstance(tensor, Tensor):
                found[below(prefix, name)] = tensor
        for name, child in state["_modules"].items():
            if child is not None:
                visit(child, f"{below(prefix, name)}.")

    visit(module, "")
    return found
