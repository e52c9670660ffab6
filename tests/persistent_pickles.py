"""Pickles in the form of EDM's: modules that carry their own source code, here code that leaves a file behind."""

import pickle
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SOURCE = "open('hostile', 'w')"


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    raise AssertionError("a test reads a pickle as Python does")


class EasyDict(dict[str, Any]):
    """A stand-in for dnnlib's class of this name."""


@contextmanager
def stand_ins() -> Iterator[None]:
    """Modules by whose names pickle saves the function and the class above."""
    names = ["torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util"]
    sys.modules |= {name: ModuleType(name) for name in names}
    for name, content in ((names[1], _reconstruct_persistent_obj), (names[3], EasyDict)):
        content.__module__ = name
        setattr(sys.modules[name], content.__name__, content)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


class Module:
    """A module of EDM's code."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": class_name, "state": state}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.meta,), None


def module(class_name: str, tensors: Mapping[str, Tensor], buffers: Set[str] = frozenset(), **state: Any) -> Any:
    """A module with the tensors below it; one without a class is torch's ModuleDict."""
    below = {name: {n: t for n, t in split(tensors).items() if n[0] == name} for name, _ in split(tensors) if _}
    children = {
        name: module(
            "" if name in ("enc", "dec") else "Block",
            {rest: tensor for (_, rest), tensor in inner.items()},
            {n.removeprefix(f"{name}.") for n in buffers if n.startswith(f"{name}.")},
        )
        for name, inner in below.items()
    }
    own = {name: tensor for name, tensor in tensors.items() if "." not in name}
    attributes = {
        "training": False,
        "_parameters": {n: nn.Parameter(t, requires_grad=False) for n, t in own.items() if n not in buffers},
        "_buffers": {n: t for n, t in own.items() if n in buffers},
        "_non_persistent_buffers_set": set(),
        "_modules": children | state.pop("_modules", {}),
        "skip_scale": np.sqrt(0.5),
        "_init_args": (),
        **state,
    }
    if class_name:
        return Module(class_name, attributes)
    container = nn.ModuleDict()
    container.__dict__.update(attributes)
    return container


def split(tensors: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """The tensors by the first word of their name and the rest of it."""
    return {(name.partition(".")[0], name.partition(".")[2]): tensor for name, tensor in tensors.items()}


def snapshot(
    precond: str, kind: str, settings: dict[str, Any], tensors: Mapping[str, Tensor], fixed: Set[str], **state: Any
) -> dict[str, Any]:
    """The table in a network snapshot of EDM: a network of a kind in its preconditioning."""
    model = module(kind, tensors, fixed, _init_kwargs=EasyDict(settings))
    ema = module(precond, {}, _modules={"model": model}, **state)
    options = EasyDict(path="datasets/cifar10-32x32.zip", use_labels=True)
    return {"ema": ema, "loss_fn": Module("EDMLoss", {"P_mean": -1.2}), "augment_pipe": None, "dataset_kwargs": options}


def write_pickle(path: Path, content: object) -> Path:
    """Pickle `content` to `path`."""
    with stand_ins():
        path.write_bytes(pickle.dumps(content))
    return path


def values_in_pickle(values: bytes) -> object:
    """An object whose pickle has `values` read as a tensor's by torch."""

    class Values:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.storage._load_from_bytes, (values,)

    return Values()
