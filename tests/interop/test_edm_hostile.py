"""No code in a pickle of EDM is run, and one that holds anything but tensors and plain data is refused in one line."""

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from edm_snapshots import edm_snapshot
from persistent_pickles import Module, values_in_pickle, write_pickle
from torch import nn
from torch._utils import _rebuild_tensor_v2

from limpid.cli.main import main
from limpid.interop.foreign import read_foreign
from limpid.interop.foreign_model import ForeignOptions
from limpid.interop.persistent_pickle import _storage


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


COMMAND = Call(os.system, "touch hostile")


def torch_saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def nested_modules(depth: int) -> dict[str, Any]:
    """A snapshot with nested modules, each of which has the next one twice."""
    module: object = Module("Block", {"_parameters": {}, "_buffers": {}, "_modules": {}})
    for _ in range(depth):
        module = Module("Block", {"_parameters": {}, "_buffers": {}, "_modules": {"a": module, "b": module}})
    table = edm_snapshot("ddpm++")
    table["ema"].meta["state"]["_modules"]["model"].meta["state"]["_modules"]["enc"] = module
    return table


def with_claimed_size(values: int) -> dict[str, Any]:
    """A tensor that claims this many values, of which the file has three."""
    storage = torch.zeros(3).storage()
    tensor = Call(_rebuild_tensor_v2, storage, 0, (values,), (0,), False, {})
    return {"ema": Module("EDMPrecond", {"x": tensor})}


def nested_tuples(value: object = 1) -> object:
    """Tuples nested 60 deep, each of which has the next one twice: their text would fill the memory."""
    for _ in range(60):
        value = (value, value)
    return value


def with_model(**state: object) -> dict[str, Any]:
    """A snapshot whose network has other attributes."""
    table = edm_snapshot("ddpm++")
    table["ema"].meta["state"]["_modules"]["model"].meta["state"] |= state
    return table


def with_shape(size: tuple[object, ...]) -> dict[str, Any]:
    """A tensor whose shape is not of whole numbers."""
    tensor = Call(_rebuild_tensor_v2, torch.zeros(3).storage(), 0, size, (1, 1), False, {})
    return {"ema": Module("EDMPrecond", {"x": tensor})}


def compressed_storage() -> bytes:
    """A storage of zeros in a compressed file."""
    buffer = io.BytesIO()
    with ZipFile(io.BytesIO(torch_saved(torch.zeros(10**5).storage()))) as plain, ZipFile(buffer, "w") as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name), ZIP_DEFLATED)
    return buffer.getvalue()


def tensors_of_same_bytes() -> dict[str, Any]:
    """Two tensors whose values are the same bytes of the file."""
    values = torch_saved(torch.zeros(1000).storage())
    return {"ema": Module("EDMPrecond", {name: values_in_pickle(values) for name in "xy"})}


class ChangedDefaults:
    """An object whose pickle changes the default arguments of a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.storage._load_from_bytes, (b"",), (None, {"__defaults__": (3,)})


HOSTILE: dict[str, tuple[Callable[[], object], str]] = {
    "system": (lambda: edm_snapshot("ddpm++") | {"loss_fn": COMMAND}, "it asks for 'posix.system'"),
    "eval": (
        lambda: {"ema": Module("EDMPrecond", {"x": Call(eval, "open('hostile', 'w')")})},
        "it asks for 'builtins.eval'",
    ),
    "nested call": (lambda: {"ema": Module("EDMPrecond", {"x": Call(getattr, COMMAND, "x")})}, "it asks for"),
    "code in a tensor": (
        lambda: {"ema": Module("EDMPrecond", {"x": values_in_pickle(torch_saved(COMMAND))})},
        "Weights only load failed",
    ),
    "no tensor": (
        lambda: {"ema": Module("EDMPrecond", {"x": values_in_pickle(torch_saved({"a": 1}))})},
        "a dict in place of a tensor's values",
    ),
    "tensor of a terabyte": (lambda: with_claimed_size(10**12), "a tensor of 1e+12 values from 3"),
    "modules for ever": (lambda: nested_modules(60), "one of its modules occurs twice"),
    "shape of text": (lambda: with_shape(("a", 10**12)), "a tensor whose shape is not of whole numbers"),
    "compressed values": (
        lambda: {"ema": Module("EDMPrecond", {"x": values_in_pickle(compressed_storage())})},
        "it is compressed, which torch.save does not do",
    ),
    "values twice": (tensors_of_same_bytes, "it has more values read than it holds"),
    "doubled class": (lambda: edm_snapshot("ddpm++", nested_tuples()), "a tuple in place of the name of a class"),
    "doubled setting": (
        lambda: edm_snapshot("ddpm++", model_channels=nested_tuples()),
        "not those of such a model (TypeError",
    ),
    "doubled choice": (lambda: edm_snapshot("ddpm++", encoder_type=nested_tuples()), "a SongUNet with"),
    "module's name": (lambda: with_model(_modules={3: Module("Block", {})}), "has a name that is no text"),
    "parameter's name": (lambda: with_model(_parameters={"n" * 10**6: nn.Parameter(torch.ones(1))}), "at most 100"),
    "no model": (lambda: {"G_ema": Module("Generator", {})}, "it has no 'ema'"),
    "no module": (lambda: {"ema": 3, "loss_fn": Module("EDMLoss", {})}, "a int in place of a module"),
    "no attributes": (lambda: {"ema": Module("EDMPrecond", {})}, "KeyError"),
    "other class": (lambda: edm_snapshot("ddpm++", "Other\n\x1b[2J"), r"'Other\n\x1b[2J'"),
    "vp": (lambda: edm_snapshot("ddpm++", "VPPrecond"), "the continuous time of the VP SDE"),
    "ve": (lambda: edm_snapshot("ddpm++", "VEPrecond"), "not scaled to unit variance"),
    "edm2": (lambda: edm_snapshot("ddpm++", "Precond"), "EDM2's network preserves magnitudes"),
    "encoder": (lambda: edm_snapshot("ddpm++", encoder_type="skip"), "encoder_type 'skip'"),
    "width": (lambda: edm_snapshot("ddpm++", model_channels=10**9), "not those of such a model"),
    "blocks": (lambda: edm_snapshot("ddpm++", num_blocks=10**9), "num_blocks 1000000000: expected at most"),
    "levels": (lambda: edm_snapshot("ddpm++", channel_mult=[1] * 10**5), "more than 12 levels"),
    "classes": (lambda: edm_snapshot("ddpm++", label_dim=10**12), "1e+12 classes, and a table of 3"),
    "size": (lambda: edm_snapshot("ddpm++", img_resolution=10**12), "its images are of 1e+12 pixels"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_in_one_line_and_writes_no_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    make, reason = HOSTILE[name]
    file = write_pickle(tmp_path / "network.pkl", make())
    assert main(["import", str(file), "--run", "run"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("limpid: ")
    assert reason in line
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_pickle_is_refused(tmp_path: Path):
    prefix = pickle.dumps(["torch_utils.persistence"], 4)[:-1]
    intact = write_pickle(tmp_path / "intact.pkl", edm_snapshot("ddpm++")).read_bytes()
    changed = write_pickle(
        tmp_path / "changed.pkl", {"ema": Module("EDMPrecond", {"x": ChangedDefaults()})}
    ).read_bytes()
    broken = {
        "cut": intact[: len(intact) // 2],
        "memo": prefix + b"r" + struct.pack("<I", 2**31) + b".",
        "bytes": prefix + b"\x8e" + struct.pack("<Q", 2**60) + b".",
        "changed": changed,
    }
    for name, content in broken.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.pkl: it is broken, or holds more than tensors and plain data"):
            read_foreign(path, ForeignOptions())
    assert _storage.__defaults__ is None
